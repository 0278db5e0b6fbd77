// Annotations and detections on the picture. A row of the block: left, top, right, bottom, first slice, last slice,
// nearest slice, class; then of an annotation 1 where it is ignored, of a detection its score and what it is (0 false,
// 1 hit, 2 on an ignored object). `found` of a version holds, for each annotation, the score of the detection that found
// it, 0 where none did.

const LEFT = 0, TOP = 1, RIGHT = 2, BOTTOM = 3, FIRST = 4, LAST = 5, NEAREST = 6, NAME = 7;
const IGNORED = 8, SCORE = 8, OUTCOME = 9;
const FALSE = 0;
const LINES = {
  annotation: { colour: '#56c8ff', dash: [6, 4] },
  detection: { colour: '#ffb000', dash: [] },
  other: { colour: '#ff8ee0', dash: [9, 3, 2, 3] },
  ignored: { colour: '#d0d0d0', dash: [2, 4] },
};
const ROLES = ['detection', 'other']; // of the versions, in their order
const SCORED_MARKS = 15;

function onSlice(mark, block, k) {
  return !block.depth || (mark[FIRST] <= k && k <= mark[LAST]);
}

function isMissed(version, index, threshold) {
  const score = version.found[index];
  return !(score > 0 && score >= threshold);
}

// Missed by a version that is switched on; by the first, where none is.
function isWrong(view, index) {
  const { versions } = view.block;
  const shown = versions.map((_, n) => n).filter((n) => view.switches[ROLES[n]]);
  return (shown.length ? shown : [0]).some((n) => isMissed(versions[n], index, view.thresholds[n]));
}

function visibleAnnotations(view) {
  const { block, k, switches } = view;
  const chosen = [];
  block.annotations.forEach((mark, index) => {
    if (!onSlice(mark, block, k)) return;
    const wrong = !mark[IGNORED] && isWrong(view, index);
    if (!switches[mark[IGNORED] ? 'ignored' : wrong ? 'missed' : 'found']) return;
    const role = mark[IGNORED] ? 'ignored' : 'annotation';
    chosen.push({ mark, role, key: `annotation-${index}`, wrong, score: null });
  });
  return chosen;
}

function visibleDetections(view, number) {
  const { block, k, switches } = view;
  const role = ROLES[number];
  const chosen = [];
  if (!switches[role]) return chosen;
  block.versions[number].detections.forEach((mark, index) => {
    if (mark[SCORE] < view.thresholds[number] || !onSlice(mark, block, k)) return;
    const wrong = mark[OUTCOME] === FALSE;
    if (!switches[wrong ? 'false' : 'hit']) return;
    chosen.push({ mark, role, key: `${role}-${index}`, wrong, score: mark[SCORE] });
  });
  return chosen;
}

// Which marks of one case are to be drawn, by the viewer's switches; the first version last, on top.
function visibleMarks(view) {
  const detections = view.block.versions.map((_, number) => visibleDetections(view, number)).reverse();
  return [...visibleAnnotations(view), ...detections.flat()];
}

function countMarks(block, number, threshold) {
  const version = block.versions[number];
  let [hits, missed] = [0, 0];
  block.annotations.forEach((mark, index) => {
    if (mark[IGNORED]) return;
    if (isMissed(version, index, threshold)) missed += 1;
    else hits += 1;
  });
  const wrong = version.detections.filter((mark) => mark[SCORE] >= threshold && mark[OUTCOME] === FALSE).length;
  return { hits, missed, false: wrong };
}

// Draws into `pen`; `place` turns picture coordinates into screen pixels.
function drawMarks(pen, view, place) {
  const marks = visibleMarks(view);
  const scores = marks.filter((one) => one.score !== null).length <= SCORED_MARKS;
  for (const one of marks) {
    const box = placed(one.mark, place);
    const line = view.block.points && one.role !== 'ignored' ? { ...LINES[one.role], dash: [] } : LINES[one.role];
    strokeMark(pen, shapeOf(one, box, view.block.points), line, one.wrong ? 3 : 1.7);
    if (one.score !== null && (scores || one.key === view.selected)) {
      const above = one.role === 'detection' ? box.top - 5 >= 12 : box.bottom + 14 > view.stage.clientHeight - 24;
      label(pen, one.score.toFixed(2), box.left, above ? box.top - 5 : box.bottom + 14, LINES[one.role].colour);
    }
  }
  drawSelected(pen, view, place);
  return marks;
}

function placed(mark, place) {
  const [left, top] = place(mark[LEFT], mark[TOP]);
  const [right, bottom] = place(mark[RIGHT], mark[BOTTOM]);
  return { left, top, right, bottom, x: (left + right) / 2, y: (top + bottom) / 2 };
}

function shapeOf(one, box, points) {
  const shape = new Path2D();
  const width = box.right - box.left;
  if (!points) {
    shape.rect(box.left, box.top, width, box.bottom - box.top);
  } else if (one.score !== null) {
    shape.arc(box.x, box.y, Math.max(4, width / 3), 0, 2 * Math.PI);
  } else {
    const arm = Math.max(4, width / 4);
    shape.moveTo(box.x - arm, box.y);
    shape.lineTo(box.x + arm, box.y);
    shape.moveTo(box.x, box.y - arm);
    shape.lineTo(box.x, box.y + arm);
  }
  return shape;
}

function strokeMark(pen, shape, line, width) {
  pen.setLineDash(line.dash);
  pen.strokeStyle = 'rgba(0, 0, 0, 0.75)';
  pen.lineWidth = width + 2.4;
  pen.stroke(shape);
  pen.strokeStyle = line.colour;
  pen.lineWidth = width;
  pen.stroke(shape);
  pen.setLineDash([]);
}

function drawSelected(pen, view, place) {
  const mark = view.selectedMark();
  if (!mark || !onSlice(mark, view.block, view.k)) return;
  const box = placed(mark, place);
  const ring = new Path2D();
  const across = view.block.points ? box.right - box.left : Math.hypot(box.right - box.left, box.bottom - box.top);
  const reach = 0.5 * across * 1.25 + 5;
  ring.arc(box.x, box.y, reach, 0, 2 * Math.PI);
  strokeMark(pen, ring, { colour: '#ffffff', dash: [] }, 2.4);
}

function label(pen, text, x, y, colour, align = 'left') {
  pen.font = '600 13px system-ui, sans-serif';
  pen.textAlign = align;
  pen.lineWidth = 3.5;
  pen.lineJoin = 'round';
  pen.strokeStyle = 'rgba(0, 0, 0, 0.85)';
  pen.strokeText(text, x, y);
  pen.fillStyle = colour;
  pen.fillText(text, x, y);
}
