// The pictures of one case: decoded when asked for, the last ones kept; grey levels are windowed here.

const KEPT_SLICES = 40;

class Pictures {
  constructor(block) {
    this.block = block;
    this.kept = new Map();
    this.surface = document.createElement('canvas');
    this.pen = this.surface.getContext('2d', { willReadFrequently: true });
  }

  async decoded(position) {
    const known = this.kept.get(position);
    if (known) return known;
    const bytes = Uint8Array.from(atob(this.block.planes[position]), (letter) => letter.charCodeAt(0));
    const bitmap = await createImageBitmap(new Blob([bytes], { type: this.block.kind }));
    this.surface.width = bitmap.width;
    this.surface.height = bitmap.height;
    this.pen.drawImage(bitmap, 0, 0);
    const pixels = this.pen.getImageData(0, 0, bitmap.width, bitmap.height);
    bitmap.close();
    this.kept.set(position, pixels);
    if (this.kept.size > KEPT_SLICES) this.kept.delete(this.kept.keys().next().value);
    return pixels;
  }

  // A canvas that holds the slice with `low` black and `high` white.
  async windowed(position, low, high) {
    const pixels = await this.decoded(position);
    const shown = new ImageData(pixels.width, pixels.height);
    const table = this.table(low, high);
    const from = pixels.data;
    const to = shown.data;
    for (let at = 0; at < from.length; at += 4) {
      to[at] = table[from[at]];
      to[at + 1] = table[from[at + 1]];
      to[at + 2] = table[from[at + 2]];
      to[at + 3] = 255;
    }
    this.surface.width = pixels.width;
    this.surface.height = pixels.height;
    this.pen.putImageData(shown, 0, 0);
    return this.surface;
  }

  table(low, high) {
    const { levels, values } = this.block;
    const table = new Uint8ClampedArray(256);
    let part = 0;
    for (let level = 0; level < 256; level += 1) {
      while (part < levels.length - 2 && level > levels[part + 1]) part += 1;
      const share = (level - levels[part]) / (levels[part + 1] - levels[part]);
      const value = values[part] + share * (values[part + 1] - values[part]);
      table[level] = (255 * (value - low)) / (high - low);
    }
    return table;
  }
}
