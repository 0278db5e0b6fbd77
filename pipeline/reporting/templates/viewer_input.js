// Mouse, keys, controls and rows → what a viewer does; and the start of every viewer on the page.

const PAN = 60; // screen pixels a key press
const ZOOM = 1.25;

function listenToControls(viewer) {
  const on = (name, event, act) => {
    const element = viewer.control(name);
    if (element) element.addEventListener(event, () => act(element));
  };
  on('choose-case', 'change', (box) => viewer.open(Number(box.value)));
  on('previous', 'click', () => viewer.step(-1));
  on('next', 'click', () => viewer.step(1));
  on('zoom-in', 'click', () => viewer.zoomBy(ZOOM));
  on('zoom-out', 'click', () => viewer.zoomBy(1 / ZOOM));
  on('whole', 'click', () => viewer.whole());
  on('reset', 'click', () => viewer.resetWindow());
  on('slice', 'input', (slider) => viewer.toPosition(Number(slider.value)));
  on('threshold', 'input', (slider) => { viewer.threshold = Number(slider.value); viewer.changed(); });
  on('width', 'input', (slider) => viewer.setWindow((viewer.low + viewer.high) / 2, Number(slider.value)));
  on('centre', 'input', (slider) => viewer.setWindow(Number(slider.value), viewer.high - viewer.low));
  for (const role of ['annotation', 'detection', 'ignored']) on(`layer-${role}`, 'change', () => viewer.toggle(role));
}

function keyAction(viewer, event) {
  const volume = viewer.block.depth > 0 && !event.shiftKey;
  const slices = (by) => () => viewer.toPosition(viewer.position + by);
  const move = (right, down) => () => viewer.moveBy(right * PAN, down * PAN);
  const actions = {
    ArrowUp: volume ? slices(-1) : move(0, 1),
    ArrowDown: volume ? slices(1) : move(0, -1),
    ArrowLeft: move(1, 0),
    ArrowRight: move(-1, 0),
    PageUp: volume && slices(-10),
    PageDown: volume && slices(10),
    Home: volume && slices(-Infinity),
    End: volume && slices(Infinity),
    '+': () => viewer.zoomBy(ZOOM),
    '=': () => viewer.zoomBy(ZOOM),
    '-': () => viewer.zoomBy(1 / ZOOM),
    0: () => viewer.whole(),
    a: () => viewer.toggle('annotation'),
    d: () => viewer.toggle('detection'),
    i: () => viewer.toggle('ignored'),
    n: () => viewer.step(1),
    p: () => viewer.step(-1),
    Escape: viewer.row && (() => viewer.row.querySelector('button').focus()),
  };
  return actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
}

function listenToKeys(viewer) {
  viewer.stage.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const act = keyAction(viewer, event);
    if (!act) return;
    event.preventDefault();
    act();
  });
}

// The wheel belongs to the picture once the mouse has moved over it; a page that is scrolled past keeps scrolling.
function listenToWheel(viewer) {
  const { stage } = viewer;
  let own = false;
  let last = '';
  let turned = 0;
  stage.addEventListener('pointermove', (event) => {
    const here = `${event.clientX} ${event.clientY}`;
    own = own || here !== last;
    last = here;
  });
  stage.addEventListener('pointerleave', () => { own = false; });
  window.addEventListener('scroll', () => { own = false; }, { passive: true });
  stage.addEventListener('wheel', (event) => {
    if (!own && document.activeElement !== stage) return;
    event.preventDefault();
    const edge = stage.getBoundingClientRect();
    const lines = event.deltaY / (event.deltaMode === 0 ? 40 : 1);
    if (!viewer.block.depth || event.ctrlKey) {
      viewer.zoomBy(ZOOM ** -Math.min(Math.max(lines, -3), 3), [event.clientX - edge.left, event.clientY - edge.top]);
      return;
    }
    turned += Math.min(Math.max(lines, -1), 1); // a notch is one slice; a touch pad adds up
    const whole = Math.trunc(turned);
    turned -= whole;
    if (whole) viewer.toPosition(viewer.position + whole);
  }, { passive: false });
}

function listenToDrag(viewer) {
  const { stage } = viewer;
  let last = null;
  stage.addEventListener('pointerdown', (event) => {
    if (event.button !== 0) return;
    last = [event.clientX, event.clientY];
    stage.setPointerCapture(event.pointerId);
    stage.classList.add(event.shiftKey ? 'windowing' : 'moving');
  });
  stage.addEventListener('pointermove', (event) => {
    if (!last) return;
    const [right, down] = [event.clientX - last[0], event.clientY - last[1]];
    last = [event.clientX, event.clientY];
    if (stage.classList.contains('moving')) {
      viewer.moveBy(right, down);
      return;
    }
    const per = (viewer.block.encoded[1] - viewer.block.encoded[0]) / 400;
    viewer.setWindow((viewer.low + viewer.high) / 2 + down * per, viewer.high - viewer.low + right * per);
  });
  for (const name of ['pointerup', 'pointercancel']) {
    stage.addEventListener(name, () => {
      last = null;
      stage.classList.remove('moving', 'windowing');
    });
  }
}

// A row becomes a button in its first cell; a click anywhere on the row does the same.
function linkRow(viewer, row) {
  const cell = row.cells[0];
  const button = document.createElement('button');
  button.type = 'button';
  button.textContent = cell.textContent;
  button.setAttribute('aria-label', `${described(row)}: show in the viewer`);
  cell.replaceChildren(button);
  row.classList.add('linked');
  row.addEventListener('click', () => viewer.goTo(row));
}

function startViewers() {
  for (const root of document.querySelectorAll('.viewer')) {
    const blocks = [...document.querySelectorAll('script.case-data')].filter((one) => one.dataset.viewer === root.id);
    const rows = [...document.querySelectorAll(`#${root.id}-findings tr[data-mark]`)];
    root.hidden = false;
    const viewer = new Viewer(root, blocks, rows);
    listenToControls(viewer);
    listenToKeys(viewer);
    listenToWheel(viewer);
    listenToDrag(viewer);
    for (const row of rows) linkRow(viewer, row);
    for (const name of ['previous', 'next']) viewer.control(name).disabled = !rows.length;
    viewer.open(0);
    new ResizeObserver(() => viewer.changed()).observe(viewer.stage);
  }
}

startViewers();
