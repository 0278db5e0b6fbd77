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
  ROLES.forEach((role, number) => {
    on(`threshold-${role}`, 'input', (slider) => {
      viewer.thresholds[number] = Number(slider.value);
      viewer.changed();
    });
  });
  on('width', 'input', (slider) => viewer.setWindow((viewer.low + viewer.high) / 2, Number(slider.value)));
  on('centre', 'input', (slider) => viewer.setWindow(Number(slider.value), viewer.high - viewer.low));
  for (const name of Object.keys(viewer.switches)) on(`layer-${name}`, 'change', () => viewer.toggle(name));
  for (const preset of viewer.root.querySelectorAll('.preset')) {
    preset.addEventListener('click', () => viewer.setWindow(Number(preset.dataset.centre), Number(preset.dataset.width)));
  }
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
    a: () => viewer.toggle('found', 'missed'),
    m: () => viewer.toggle('missed'),
    d: () => viewer.toggle('hit', 'false'),
    h: () => viewer.toggle('hit'),
    f: () => viewer.toggle('false'),
    i: () => viewer.toggle('ignored'),
    1: () => viewer.toggle('detection'),
    2: viewer.block.versions.length > 1 && (() => viewer.toggle('other')),
    r: () => viewer.resetWindow(),
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

// One pointer moves the picture, or the window with Shift; two pinch.
function listenToDrag(viewer) {
  const { stage } = viewer;
  const held = new Map();
  stage.addEventListener('pointerdown', (event) => {
    if (event.button !== 0) return;
    held.set(event.pointerId, [event.clientX, event.clientY]);
    stage.setPointerCapture(event.pointerId);
    stage.classList.add(event.shiftKey ? 'windowing' : 'moving');
  });
  stage.addEventListener('pointermove', (event) => {
    const last = held.get(event.pointerId);
    if (!last) return;
    const now = [event.clientX, event.clientY];
    const before = [...held.values()];
    held.set(event.pointerId, now);
    if (held.size > 1) pinch(viewer, before, [...held.values()]);
    else drag(viewer, now[0] - last[0], now[1] - last[1]);
  });
  for (const name of ['pointerup', 'pointercancel']) {
    stage.addEventListener(name, (event) => {
      held.delete(event.pointerId);
      if (!held.size) stage.classList.remove('moving', 'windowing');
    });
  }
}

function drag(viewer, right, down) {
  if (viewer.stage.classList.contains('moving')) {
    viewer.moveBy(right, down);
    return;
  }
  const per = (viewer.encoded[1] - viewer.encoded[0]) / 400;
  viewer.setWindow((viewer.low + viewer.high) / 2 + down * per, viewer.high - viewer.low + right * per);
}

function pinch(viewer, before, now) {
  const apart = ([a, b]) => Math.hypot(a[0] - b[0], a[1] - b[1]);
  const middle = ([a, b]) => [(a[0] + b[0]) / 2, (a[1] + b[1]) / 2];
  const [from, to] = [middle(before), middle(now)];
  const edge = viewer.stage.getBoundingClientRect();
  viewer.moveBy(to[0] - from[0], to[1] - from[1]);
  if (apart(before) > 0) viewer.zoomBy(apart(now) / apart(before), [to[0] - edge.left, to[1] - edge.top]);
}

// The row's first cell becomes a button; a click anywhere on the row does the same.
function linkRow(row, name, go) {
  const cell = row.cells[0];
  const button = document.createElement('button');
  button.type = 'button';
  button.textContent = cell.textContent;
  button.setAttribute('aria-label', `${name}: show in the viewer`);
  cell.replaceChildren(button);
  row.classList.add('linked');
  row.addEventListener('click', go);
}

function startViewers() {
  for (const root of document.querySelectorAll('.viewer')) {
    const blocks = [...document.querySelectorAll('script.case-data')].filter((one) => one.dataset.viewer === root.id);
    const rows = [...document.querySelectorAll(`#${root.id}-findings tr[data-mark]`)];
    const cases = document.querySelectorAll(`#${root.id}-differences tr[data-case]`);
    root.hidden = false;
    const viewer = new Viewer(root, blocks, rows);
    listenToControls(viewer);
    listenToKeys(viewer);
    listenToWheel(viewer);
    listenToDrag(viewer);
    for (const row of rows) linkRow(row, described(row), () => viewer.goTo(row));
    for (const row of cases) {
      linkRow(row, `Case ${row.cells[0].textContent}`, () => viewer.goToCase(Number(row.dataset.case)));
    }
    for (const name of ['previous', 'next']) viewer.control(name).disabled = !rows.length;
    viewer.open(0);
    new ResizeObserver(() => viewer.changed()).observe(viewer.stage);
  }
}

startViewers();
