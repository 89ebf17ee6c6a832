const el = (id) => document.getElementById(id);

function make(tag, properties = {}, ...children) {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
}

function draw(tag, attributes = {}) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

const headers = { "X-ChainRig-Secret": known.secret };

async function ask(question, asked = {}) {
  let response;
  try {
    response = await fetch(`/ask/${question}`, { method: "POST", headers, body: JSON.stringify(asked) });
  } catch {
    throw new Error("The viewer does not answer: has chainrig view been ended?");
  }
  if (!response.ok) throw new Error(await response.text());
  return response.json();
}

async function askPicture(face) {
  const response = await fetch(`/photo/${face}`, { headers });
  if (!response.ok) throw new Error(await response.text());
  return URL.createObjectURL(await response.blob());
}

function unpack(text, kind) {
  return new kind(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);
}

const shown = (value, digits = 2) => value.toFixed(digits).replace("-", "−");

// The last of many requests counts: while one is under way, only the newest waits.
function newest(work) {
  let busy = false, waiting = null;
  return async function run(...given) {
    if (busy) { waiting = given; return; }
    busy = true;
    try { await work(...given); } finally {
      busy = false;
      if (waiting) { const next = waiting; waiting = null; run(...next); }
    }
  };
}
