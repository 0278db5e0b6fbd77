// Annotations and detections on the picture. A row of the block: left, top, right, bottom, first slice, last slice,
// nearest slice, class, score, flag. The score of an annotation is that of the detection that found it, 0 where none
// did; its flag is 1 where it is ignored. The flag of a detection is 0 false, 1 hit, 2 on an ignored object.

const LEFT = 0, TOP = 1, RIGHT = 2, BOTTOM = 3, FIRST = 4, LAST = 5, NEAREST = 6, NAME = 7, SCORE = 8, FLAG = 9;
const LINES = {
  annotation: { colour: '#56c8ff', dash: [6, 4] },
  detection: { colour: '#ffb000', dash: [] },
  ignored: { colour: '#d0d0d0', dash: [2, 4] },
};
const SCORED_MARKS = 15;

function onSlice(mark, block, k) {
  return !block.depth || (mark[FIRST] <= k && k <= mark[LAST]);
}

function isMissed(annotation, threshold) {
  return !annotation[FLAG] && !(annotation[SCORE] > 0 && annotation[SCORE] >= threshold);
}

// Which marks of one case are to be drawn, by the viewer's switches.
function visibleMarks(view) {
  const { block, threshold, k } = view;
  const chosen = [];
  block.annotations.forEach((mark, index) => {
    const role = mark[FLAG] ? 'ignored' : 'annotation';
    if (!view.switches[role] || !onSlice(mark, block, k)) return;
    chosen.push({ mark, role, key: `annotation-${index}`, wrong: isMissed(mark, threshold), score: null });
  });
  if (!view.switches.detection) return chosen;
  block.detections.forEach((mark, index) => {
    if (mark[SCORE] < threshold || !onSlice(mark, block, k)) return;
    chosen.push({ mark, role: 'detection', key: `detection-${index}`, wrong: mark[FLAG] === 0, score: mark[SCORE] });
  });
  return chosen;
}

function countMarks(block, threshold) {
  const counted = block.annotations.filter((mark) => !mark[FLAG]);
  const missed = counted.filter((mark) => isMissed(mark, threshold)).length;
  const reported = block.detections.filter((mark) => mark[SCORE] >= threshold);
  return { hits: counted.length - missed, missed, false: reported.filter((mark) => mark[FLAG] === 0).length };
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
      label(pen, one.score.toFixed(2), box.left, box.top - 5 < 12 ? box.bottom + 14 : box.top - 5, LINES.detection.colour);
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
  } else if (one.role === 'detection') {
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
