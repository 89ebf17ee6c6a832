// The photo's points as rings, the rig's as dots, and from each ring the way that the rig is off, drawn longer.
const PHOTO = "#46eb78", RIG = "#ff46be", ARROW = "#f4f2ee";

function drawPoints(canvas, stage, target, rig, longer) {
  const fine = devicePixelRatio, { clientWidth: width, clientHeight: height } = canvas;
  if (canvas.width !== Math.round(width * fine) || canvas.height !== Math.round(height * fine)) {
    canvas.width = Math.round(width * fine);
    canvas.height = Math.round(height * fine);
  }
  const pen = canvas.getContext("2d");
  pen.setTransform(fine, 0, 0, fine, 0, 0);
  pen.clearRect(0, 0, width, height);
  if (!target || !stage.straight) return;
  const size = Math.min(3.2, Math.max(1.4, stage.view.scale * 1.1));
  const from = target.map((point) => stage.toScreen(point)), to = rig.map((point) => stage.toScreen(point));
  pen.strokeStyle = ARROW;
  pen.fillStyle = ARROW;
  pen.lineWidth = 1.1;
  from.forEach(([x, y], i) => {
    const [dx, dy] = [longer * (to[i][0] - x), longer * (to[i][1] - y)], length = Math.hypot(dx, dy);
    if (length < 3) return;
    pen.beginPath();
    pen.moveTo(x, y);
    pen.lineTo(x + dx, y + dy);
    pen.stroke();
    const [ux, uy] = [(4 * dx) / length, (4 * dy) / length];
    pen.beginPath();
    pen.moveTo(x + dx, y + dy);
    pen.lineTo(x + dx - ux - uy / 2, y + dy - uy + ux / 2);
    pen.lineTo(x + dx - ux + uy / 2, y + dy - uy - ux / 2);
    pen.fill();
  });
  pen.fillStyle = RIG;
  for (const [x, y] of to) {
    pen.beginPath();
    pen.arc(x, y, size * 0.6, 0, 7);
    pen.fill();
  }
  pen.strokeStyle = PHOTO;
  for (const [x, y] of from) {
    pen.beginPath();
    pen.arc(x, y, size, 0, 7);
    pen.stroke();
  }
}
