// The photo with the rig before it. What is seen of a point (x, y, z) before the camera is the photo's pixel
//     (cx + f·x/−z, cy − f·y/−z), and on the screen  scale · pixel + offset.
const VERTEX = `#version 300 es
in vec3 position, normal; in vec2 uv; in float heat, opacity;
uniform mat3 turn; uniform vec3 pivot, lens, view; uniform vec2 size, range;
out vec3 n; out vec2 at; out float hot, solid;
void main() {
  vec3 p = turn * (position - pivot) + pivot;
  float w = -p.z;
  vec2 pixel = vec2(lens.x * p.x + lens.y * w, -lens.x * p.y + lens.z * w);
  vec2 screen = view.x * pixel + view.yz * w;
  gl_Position = vec4(2. * screen.x / size.x - w, w - 2. * screen.y / size.y,
    ((range.y + range.x) * w - 2. * range.x * range.y) / (range.y - range.x), w);
  n = turn * normal; at = vec2(uv.x, 1. - uv.y); hot = heat; solid = opacity;
}`;
const FRAGMENT = `#version 300 es
precision highp float;
in vec3 n; in vec2 at; in float hot, solid;
uniform sampler2D albedo, ramp; uniform vec3 around[9], directional, towards; uniform bool heated;
out vec4 colour;
vec3 encode(vec3 c) { return mix(c * 12.92, 1.055 * pow(max(c, .0031308), vec3(1. / 2.4)) - .055, step(.0031308, c)); }
vec3 decode(vec3 c) { return mix(c / 12.92, pow((c + .055) / 1.055, vec3(2.4)), step(.04045, c)); }
void main() {
  vec3 m = normalize(n);
  if (heated) {
    float lit = .72 + .28 * dot(m, normalize(vec3(.35, .55, .76)));
    colour = vec4(texture(ramp, vec2(clamp(hot, .01, .99), .5)).rgb * lit, 1.) * solid;
    return;
  }
  float b[9] = float[9](1., m.y, m.z, m.x, m.x * m.y, m.y * m.z, 3. * m.z * m.z - 1., m.x * m.z, m.x * m.x - m.y * m.y);
  vec3 light = vec3(0.);
  for (int i = 0; i < 9; i++) light += around[i] * b[i];
  float c = (dot(m, towards) + 1.) / 2.;
  light += directional * .75 * c * c;
  colour = vec4(encode(decode(texture(albedo, at).rgb) * max(light, 0.)), 1.) * solid;
}`;

class Stage {
  constructor(canvas, photo) {
    this.canvas = canvas;
    this.photo = photo;
    this.view = { scale: 1, x: 0, y: 0 };
    this.turn = { yaw: 0, pitch: 0 };
    this.onDraw = () => {};
    const gl = (this.gl = canvas.getContext("webgl2", { antialias: true }));
    if (!gl) throw new Error("This browser has no WebGL 2, which the rig is drawn with.");
    const program = (this.program = gl.createProgram());
    for (const [kind, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program));
    gl.useProgram(program);
    gl.enable(gl.DEPTH_TEST);
    this.buffers = {};
    this.texture("ramp", 1);
    const heat = known.heat;
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGB8, heat.length / 3, 1, 0, gl.RGB, gl.UNSIGNED_BYTE, new Uint8Array(heat));
    new ResizeObserver(() => this.resize()).observe(canvas.parentElement);
  }

  uniform(name) { return this.gl.getUniformLocation(this.program, name); }

  texture(name, unit) {
    const gl = this.gl;
    gl.activeTexture(gl.TEXTURE0 + unit);
    gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    for (const side of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T]) gl.texParameteri(gl.TEXTURE_2D, side, gl.CLAMP_TO_EDGE);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR);
    gl.uniform1i(this.uniform(name), unit);
  }

  buffer(name, size, values) {
    const gl = this.gl, place = gl.getAttribLocation(this.program, name);
    gl.bindBuffer(gl.ARRAY_BUFFER, (this.buffers[name] ??= gl.createBuffer()));
    gl.bufferData(gl.ARRAY_BUFFER, values, gl.DYNAMIC_DRAW);
    gl.enableVertexAttribArray(place);
    gl.vertexAttribPointer(place, size, gl.FLOAT, false, 0, 0);
  }

  async show(rig) {
    const gl = this.gl;
    this.rig = rig;
    this.vertexOf = unpack(rig.vertex, Int32Array);
    this.triangles = unpack(rig.triangles, Int32Array);
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, (this.buffers.triangles ??= gl.createBuffer()));
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, this.triangles, gl.STATIC_DRAW);
    this.buffer("uv", 2, unpack(rig.uv, Float32Array));
    this.buffer("opacity", 1, this.seamed(unpack(rig.opacity, Float32Array), 1)); // a bust ends softly
    this.vertices(unpack(rig.vertices, Float32Array));
    this.heat(null);
    const [f, cx, cy] = rig.camera;
    gl.uniform3f(this.uniform("lens"), f, cx, cy);
    gl.uniform3fv(this.uniform("around"), rig.light.around);
    gl.uniform3fv(this.uniform("directional"), rig.light.directional);
    gl.uniform3fv(this.uniform("towards"), rig.light.towards);
    const albedo = new Image();
    albedo.src = rig.albedo;
    await albedo.decode();
    this.texture("albedo", 0);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, albedo);
    gl.generateMipmap(gl.TEXTURE_2D);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR_MIPMAP_LINEAR);
  }

  // (V, 3) metres. A vertex on a seam of the texture is drawn on both sides of it, with one normal.
  vertices(values) {
    const of = this.vertexOf, t = this.triangles, normals = new Float32Array(values.length);
    for (let i = 0; i < t.length; i += 3) {
      const [a, b, c] = [3 * of[t[i]], 3 * of[t[i + 1]], 3 * of[t[i + 2]]];
      const [ux, uy, uz] = [values[b] - values[a], values[b + 1] - values[a + 1], values[b + 2] - values[a + 2]];
      const [vx, vy, vz] = [values[c] - values[a], values[c + 1] - values[a + 1], values[c + 2] - values[a + 2]];
      const [x, y, z] = [uy * vz - uz * vy, uz * vx - ux * vz, ux * vy - uy * vx];
      for (const at of [a, b, c]) { normals[at] += x; normals[at + 1] += y; normals[at + 2] += z; }
    }
    this.shape = values;
    this.buffer("position", 3, this.seamed(values, 3));
    this.buffer("normal", 3, this.seamed(normals, 3));
    const middle = [0, 0, 0];
    for (let i = 0; i < values.length; i++) middle[i % 3] += (3 * values[i]) / values.length;
    this.gl.uniform3fv(this.uniform("pivot"), middle);
    this.gl.uniform2f(this.uniform("range"), Math.max(0.02, -middle[2] - 0.5), -middle[2] + 0.5);
    this.draw();
  }

  seamed(values, size) {
    const out = new Float32Array(this.vertexOf.length * size);
    this.vertexOf.forEach((v, i) => { for (let k = 0; k < size; k++) out[i * size + k] = values[v * size + k]; });
    return out;
  }

  // (V,) in [0, 1] in colour on grey clay, or null for the skin.
  heat(values) {
    this.gl.uniform1i(this.uniform("heated"), values ? 1 : 0);
    this.buffer("heat", 1, this.seamed(values ?? new Float32Array(this.shape.length / 3), 1));
    this.draw();
  }

  // Shows a square of the photo (its middle and side, in pixels) as large as it can be.
  frame([x, y, side]) {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    this.framed = [x, y, side];
    const scale = Math.min(width, height) / side;
    this.view = { scale, x: width / 2 - scale * x, y: height / 2 - scale * y };
    this.turn = { yaw: 0, pitch: 0 };
    this.draw();
  }

  zoom(factor, x, y) {
    const view = this.view, scale = Math.min(60, Math.max(0.02, view.scale * factor)), by = scale / view.scale;
    this.view = { scale, x: x - by * (x - view.x), y: y - by * (y - view.y) };
    this.draw();
  }

  pan(dx, dy) {
    this.view.x += dx;
    this.view.y += dy;
    this.draw();
  }

  orbit(dx, dy) {
    this.turn.yaw += dx / 150;
    this.turn.pitch = Math.min(1.5, Math.max(-1.5, this.turn.pitch + dy / 150));
    this.draw();
  }

  get straight() { return this.turn.yaw === 0 && this.turn.pitch === 0; }
  toScreen([x, y]) { return [this.view.scale * x + this.view.x, this.view.scale * y + this.view.y]; }
  toPhoto(x, y) { return [(x - this.view.x) / this.view.scale, (y - this.view.y) / this.view.scale]; }

  resize() {
    const { clientWidth, clientHeight } = this.canvas, fine = devicePixelRatio;
    this.canvas.width = Math.round(clientWidth * fine);
    this.canvas.height = Math.round(clientHeight * fine);
    this.gl.viewport(0, 0, this.canvas.width, this.canvas.height);
    if (this.framed && this.straight) this.frame(this.framed);
    else this.draw();
  }

  draw() {
    this.asked ??= requestAnimationFrame(() => {
      this.asked = null;
      this.paint();
    });
  }

  paint() {
    const gl = this.gl, { scale, x, y } = this.view, { yaw, pitch } = this.turn;
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    if (!this.shape) return;
    const [cy, sy, cp, sp] = [Math.cos(yaw), Math.sin(yaw), Math.cos(pitch), Math.sin(pitch)];
    gl.uniformMatrix3fv(this.uniform("turn"), false, [cy, sp * sy, -cp * sy, 0, cp, sp, sy, -sp * cy, cp * cy]);
    gl.uniform3f(this.uniform("view"), scale, x, y);
    gl.uniform2f(this.uniform("size"), this.canvas.clientWidth, this.canvas.clientHeight);
    gl.drawElements(gl.TRIANGLES, this.triangles.length, gl.UNSIGNED_INT, 0);
    this.photo.style.transform = `translate(${x}px, ${y}px) scale(${scale})`;
    this.photo.classList.toggle("faint", !this.straight);
    this.onDraw();
  }
}
