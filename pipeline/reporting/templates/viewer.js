// One viewer: its state, its picture, its controls. Input from mouse and keys is in viewer_input.js.

const MOST_ZOOM = 40;
const FINDING_SHARE = 0.2; // of the picture that a finding takes when it is gone to
const WINDOW_STEPS = 200;
const PALE = '#dfe6ee';

function signed(value, range) {
  const digits = range >= 100 ? 0 : range >= 10 ? 1 : 3;
  return value.toFixed(digits).replace('-', '−');
}

function niceStep(about) {
  const power = 10 ** Math.floor(Math.log10(about));
  return [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= about * (1 - 1e-9));
}

function count(number, what) {
  return `${number} ${what}${number === 1 ? '' : 's'}`;
}

// "Missed lesion, no detection on it".
function described(row) {
  const [kind, name, score] = Array.from(row.cells, (cell) => cell.textContent);
  return `${kind} ${name}, ${score === 'none' ? 'no detection on it' : `score ${score}`}`;
}

class Viewer {
  constructor(root, elements, rows) {
    this.root = root;
    this.blocks = elements;
    this.opened = new Map();
    this.rows = rows;
    this.stage = root.querySelector('.stage');
    this.canvas = root.querySelector('canvas');
    this.pen = this.canvas.getContext('2d');
    this.switches = { found: true, missed: true, hit: true, false: true, ignored: true, detection: true, other: true };
    this.selected = '';
    this.row = null;
    this.waiting = false;
  }

  control(name) {
    return this.root.querySelector(`.${name}`);
  }

  // The values of the darkest and of the brightest grey level.
  get encoded() {
    return [this.block.values[0], this.block.values[this.block.values.length - 1]];
  }

  // How far the window can be moved: over all levels, and in CT over the usual windows too.
  get reach() {
    const [first, last] = this.encoded;
    return this.block.valueUnit === 'HU' ? [Math.min(first, -1000), Math.max(last, 1000)] : [first, last];
  }

  get k() {
    return this.block.depth ? this.block.slices[this.position] : 0;
  }

  get aspect() {
    return this.block.pixel[1] / this.block.pixel[0];
  }

  selectedMark() {
    const [role, index] = this.selected.split('-');
    if (!role) return null;
    const marks = role === 'annotation' ? this.block.annotations : this.block.versions[ROLES.indexOf(role)].detections;
    return marks[Number(index)] || null;
  }

  open(number) {
    if (!this.opened.has(number)) {
      const block = JSON.parse(this.blocks[number].textContent);
      this.opened.set(number, { block, pictures: new Pictures(block) });
    }
    const { block, pictures } = this.opened.get(number);
    this.number = number;
    this.block = block;
    this.pictures = pictures;
    this.clearSelection();
    this.control('choose-case').value = String(number);
    this.control('told').textContent = `${block.id}: ${block.told}.`;
    this.position = this.nearestPosition(Math.floor(block.depth / 2));
    this.setUpSliders();
    this.resetWindow();
    this.whole();
  }

  setUpSliders() {
    const { block } = this;
    const slice = this.control('for-slices');
    if (slice) {
      slice.hidden = !block.depth;
      this.control('slice').max = String(block.slices.length - 1);
    }
    const presets = this.control('presets');
    if (presets) presets.hidden = block.valueUnit !== 'HU';
    const [first, last] = this.reach;
    const step = (last - first) / WINDOW_STEPS;
    Object.assign(this.control('width'), { min: step, max: last - first, step });
    Object.assign(this.control('centre'), { min: first, max: last, step });
  }

  resetWindow() {
    [this.low, this.high] = this.block.shown;
    this.thresholds = this.block.versions.map((version) => version.threshold);
    this.changed();
  }

  nearestPosition(k) {
    const far = this.block.slices.map((slice) => Math.abs(slice - k));
    return far.indexOf(Math.min(...far));
  }

  // --- what is looked at -----------------------------------------------------------------------------------------

  toPosition(position) {
    this.position = Math.min(Math.max(position, 0), this.block.slices.length - 1);
    this.changed();
  }

  whole() {
    this.zoom = 1;
    this.x = this.block.columns / 2;
    this.y = this.block.rows / 2;
    this.changed();
  }

  // Screen pixels for one picture column.
  get scale() {
    const { clientWidth, clientHeight } = this.stage;
    const { columns, rows } = this.block;
    return this.zoom * Math.min(clientWidth / columns, clientHeight / (rows * this.aspect));
  }

  place(x, y) {
    const { clientWidth, clientHeight } = this.stage;
    return [clientWidth / 2 + (x - this.x) * this.scale, clientHeight / 2 + (y - this.y) * this.scale * this.aspect];
  }

  // Zooms so that what lies under the screen point stays there.
  zoomBy(factor, [atX, atY] = [this.stage.clientWidth / 2, this.stage.clientHeight / 2]) {
    const fromX = (atX - this.stage.clientWidth / 2) / this.scale;
    const fromY = (atY - this.stage.clientHeight / 2) / (this.scale * this.aspect);
    const before = this.zoom;
    this.zoom = Math.min(Math.max(this.zoom * factor, 1), MOST_ZOOM);
    this.x += fromX * (1 - before / this.zoom);
    this.y += fromY * (1 - before / this.zoom);
    this.changed();
  }

  moveBy(right, down) {
    this.x -= right / this.scale;
    this.y -= down / (this.scale * this.aspect);
    this.changed();
  }

  setWindow(centre, width) {
    const [first, last] = this.reach;
    const wide = Math.min(Math.max(width, (last - first) / WINDOW_STEPS), last - first);
    const middle = Math.min(Math.max(centre, first), last);
    this.low = middle - wide / 2;
    this.high = middle + wide / 2;
    this.changed();
  }

  // Together: off where all of them are on.
  toggle(...names) {
    const on = !names.every((name) => this.switches[name]);
    for (const name of names) this.switches[name] = on;
    this.changed();
  }

  // --- findings ----------------------------------------------------------------------------------------------------

  clearSelection() {
    if (this.row) this.row.removeAttribute('aria-current');
    this.selected = '';
    this.row = null;
  }

  select(mark, row) {
    this.clearSelection();
    this.selected = mark;
    this.row = row;
    row.setAttribute('aria-current', 'true');
  }

  // What is gone to must be seen, whatever was switched off before.
  uncover(mark) {
    const role = this.selected.split('-')[0];
    if (role === 'annotation') {
      this.switches.found = true;
      this.switches.missed = true;
      return;
    }
    this.switches[role] = true;
    this.switches[mark[OUTCOME] === FALSE ? 'false' : 'hit'] = true;
    const number = ROLES.indexOf(role);
    this.thresholds[number] = Math.min(this.thresholds[number], mark[SCORE]);
  }

  goTo(row) {
    const number = Number(row.dataset.case);
    if (number !== this.number) this.open(number);
    this.select(row.dataset.mark, row);
    const mark = this.selectedMark();
    this.uncover(mark);
    if (this.block.depth) this.position = this.nearestPosition(mark[NEAREST]);
    this.x = (mark[LEFT] + mark[RIGHT]) / 2;
    this.y = (mark[TOP] + mark[BOTTOM]) / 2;
    this.zoom = 1;
    const wide = (mark[RIGHT] - mark[LEFT]) * this.scale;
    const high = (mark[BOTTOM] - mark[TOP]) * this.scale * this.aspect;
    const room = Math.min(this.stage.clientWidth, this.stage.clientHeight) * FINDING_SHARE;
    this.zoom = Math.min(Math.max(room / Math.max(wide, high), 1), this.block.depth ? 6 : 10);
    this.changed();
    this.stage.focus({ preventScroll: true });
    this.revealRow(row);
    this.revealPicture();
  }

  goToCase(number) {
    this.open(number);
    this.stage.focus({ preventScroll: true });
    this.revealPicture();
  }

  // Within its own list; the page stays.
  revealRow(row) {
    const list = row.closest('.rows');
    const inList = row.offsetTop - list.clientHeight / 2;
    if (row.offsetTop < list.scrollTop + 60 || row.offsetTop + 40 > list.scrollTop + list.clientHeight) {
      list.scrollTo({ top: inList, behavior: 'instant' });
    }
  }

  revealPicture() {
    const edge = this.stage.getBoundingClientRect();
    if (edge.top < 0 || edge.bottom > window.innerHeight) this.root.scrollIntoView({ block: 'start' });
  }

  // The next row in the table's order that its filter shows.
  step(by) {
    const rows = this.rows.filter((row) => row.offsetParent !== null);
    if (!rows.length) return;
    const here = rows.indexOf(this.row);
    const first = by > 0 ? 0 : rows.length - 1;
    this.goTo(rows[here < 0 ? first : (here + by + rows.length) % rows.length]);
  }

  // --- the picture -------------------------------------------------------------------------------------------------

  changed() {
    if (this.waiting || this.zoom === undefined) return;
    this.waiting = true;
    requestAnimationFrame(() => {
      this.waiting = false;
      this.keepInside();
      this.showControls();
      this.paint();
    });
  }

  keepInside() {
    this.x = Math.min(Math.max(this.x, 0), this.block.columns);
    this.y = Math.min(Math.max(this.y, 0), this.block.rows);
  }

  async paint() {
    const { block, position } = this;
    const picture = await this.pictures.windowed(position, this.low, this.high);
    if (block !== this.block || position !== this.position) return; // scrolled on while it was decoded
    const { clientWidth, clientHeight } = this.stage;
    const dense = window.devicePixelRatio || 1;
    this.canvas.width = Math.round(clientWidth * dense);
    this.canvas.height = Math.round(clientHeight * dense);
    const { pen } = this;
    pen.setTransform(dense, 0, 0, dense, 0, 0);
    pen.imageSmoothingQuality = 'high';
    const [left, top] = this.place(0, 0);
    const [right, bottom] = this.place(block.columns, block.rows);
    pen.drawImage(picture, left, top, right - left, bottom - top);
    const marks = drawMarks(pen, this, (x, y) => this.place(x, y));
    this.drawLetters();
    this.drawScaleBar();
    this.tell(marks);
  }

  // The patient's sides, and which slice this is of how many the scan has.
  drawLetters() {
    const { clientWidth, clientHeight } = this.stage;
    const [left, top, right, bottom] = this.block.letters;
    if (!left) return;
    const [middle, centre] = [clientHeight / 2 + 5, clientWidth / 2];
    label(this.pen, left, 8, middle, PALE);
    label(this.pen, top, centre, 18, PALE, 'center');
    label(this.pen, right, clientWidth - 8, middle, PALE, 'right');
    label(this.pen, bottom, centre, clientHeight - 12, PALE, 'center');
    label(this.pen, `${this.k + 1} / ${this.block.depth}`, 8, clientHeight - 12, PALE);
  }

  drawScaleBar() {
    const { clientWidth, clientHeight } = this.stage;
    const perPixel = this.block.pixel[0] / this.scale;
    const length = niceStep(perPixel * 70);
    const small = this.block.unit === 'mm' && length < 0.5;
    const text = small ? `${Number((length * 1000).toPrecision(3))} µm` : `${Number(length.toPrecision(3))} ${this.block.unit}`;
    const bar = new Path2D();
    bar.moveTo(clientWidth - 14 - length / perPixel, clientHeight - 12);
    bar.lineTo(clientWidth - 14, clientHeight - 12);
    strokeMark(this.pen, bar, { colour: '#ffffff', dash: [] }, 2.4);
    label(this.pen, text, clientWidth - 14, clientHeight - 20, '#ffffff', 'right');
  }

  // --- what is told ------------------------------------------------------------------------------------------------

  showControls() {
    const { block } = this;
    const range = this.encoded[1] - this.encoded[0];
    const unit = block.valueUnit ? ` ${block.valueUnit}` : '';
    this.thresholds.forEach((value, number) => this.showSlider(`threshold-${ROLES[number]}`, value, value.toFixed(2)));
    this.showSlider('width', this.high - this.low, signed(this.high - this.low, range) + unit);
    const centre = (this.high + this.low) / 2;
    this.showSlider('centre', centre, signed(centre, range) + unit);
    if (block.depth) this.showSlider('slice', this.position, `${this.k + 1} of ${block.depth}`);
    for (const [name, on] of Object.entries(this.switches)) {
      const box = this.control(`layer-${name}`);
      if (box) box.checked = on;
    }
    this.control('zoom-out').disabled = this.zoom <= 1;
    this.control('zoom-in').disabled = this.zoom >= MOST_ZOOM;
  }

  showSlider(name, value, text) {
    const slider = this.control(name);
    slider.value = String(value);
    slider.setAttribute('aria-valuetext', text);
    slider.closest('label').querySelector('output').textContent = text;
  }

  // What is drawn, and the whole case at the thresholds of now.
  sentence(marks) {
    const { block } = this;
    const annotations = marks.filter((one) => one.key.startsWith('annotation')).length;
    const parts = [block.depth ? `Slice ${this.k + 1} of ${block.depth}` : `Zoom ${this.zoom.toFixed(1)}`];
    parts.push(`${count(annotations, 'annotation')} and ${count(marks.length - annotations, 'detection')} drawn`);
    block.versions.forEach((version, number) => {
      const whole = countMarks(block, number, this.thresholds[number]);
      const who = block.versions.length > 1 ? ` by ${version.name}` : '';
      parts.push(
        `whole case${who} at threshold ${this.thresholds[number].toFixed(2)}: ${count(whole.hits, 'hit')}, ` +
          `${whole.missed} missed, ${count(whole.false, 'false positive')}`,
      );
    });
    return `${parts.join('; ')}.${this.row ? ` Chosen: ${described(this.row)}.` : ''}`;
  }

  tell(marks) {
    Object.assign(this.root.dataset, {
      case: this.block.id, slice: String(this.k), selected: this.selected, zoom: this.zoom.toFixed(2),
      low: this.low.toFixed(1), high: this.high.toFixed(1), drawn: marks.map((one) => one.key).join(' '),
    });
    const text = this.sentence(marks);
    clearTimeout(this.telling);
    this.telling = setTimeout(() => { this.control('status').textContent = text; }, 120);
  }
}
