// What of a drawing is seen: a move and a scale, changed by pointer, wheel and keys.

export interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

const SMALLEST = 0.04;
const GREATEST = 2.5;

export class Camera {
  x = 0;
  y = 0;
  scale = 1;

  constructor(
    private readonly surface: SVGElement,
    private readonly changed: () => void,
  ) {
    surface.addEventListener("pointerdown", this.grab);
    surface.addEventListener("wheel", this.wheel, { passive: false });
  }

  get size(): { width: number; height: number } {
    return { width: this.surface.clientWidth || 600, height: this.surface.clientHeight || 300 };
  }

  // The part of the drawing that is seen, and half a screen around it.
  get seen(): Box {
    const { width, height } = this.size;
    const room = 0.5;
    return {
      x: (-this.x - width * room) / this.scale,
      y: (-this.y - height * room) / this.scale,
      width: (width * (1 + 2 * room)) / this.scale,
      height: (height * (1 + 2 * room)) / this.scale,
    };
  }

  move(dx: number, dy: number): void {
    this.x += dx;
    this.y += dy;
    this.changed();
  }

  zoom(factor: number, atX = this.size.width / 2, atY = this.size.height / 2): void {
    const scale = Math.min(GREATEST, Math.max(SMALLEST, this.scale * factor));
    this.x = atX - ((atX - this.x) * scale) / this.scale;
    this.y = atY - ((atY - this.y) * scale) / this.scale;
    this.scale = scale;
    this.changed();
  }

  fit(width: number, height: number, most = 1): void {
    const room = this.size;
    this.scale = Math.max(SMALLEST, Math.min(most, room.width / Math.max(width, 1), room.height / Math.max(height, 1)));
    this.x = Math.max(0, (room.width - width * this.scale) / 2);
    this.y = Math.max(0, (room.height - height * this.scale) / 2);
    this.changed();
  }

  // Moves as little as is needed to see a box whole.
  show(box: Box, center = false): void {
    const room = this.size;
    const left = box.x * this.scale + this.x;
    const top = box.y * this.scale + this.y;
    const pad = 12;
    if (center) {
      this.x += room.width / 2 - left - (box.width * this.scale) / 2;
      this.y += room.height / 2 - top - (box.height * this.scale) / 2;
    } else {
      this.x += Math.max(0, pad - left) - Math.max(0, left + box.width * this.scale - room.width + pad);
      this.y += Math.max(0, pad - top) - Math.max(0, top + box.height * this.scale - room.height + pad);
    }
    this.changed();
  }

  private readonly wheel = (event: WheelEvent): void => {
    if (!event.ctrlKey && !event.metaKey) {
      return; // the page scrolls
    }
    event.preventDefault();
    const box = this.surface.getBoundingClientRect();
    this.zoom(Math.exp(-event.deltaY * 0.0022), event.clientX - box.left, event.clientY - box.top);
  };

  private readonly grab = (event: PointerEvent): void => {
    if (event.button !== 0 || (event.target as Element).closest(".jpg-node")) {
      return;
    }
    let { clientX, clientY } = event;
    const drag = (move: PointerEvent): void => {
      this.move(move.clientX - clientX, move.clientY - clientY);
      ({ clientX, clientY } = move);
    };
    const drop = (): void => {
      this.surface.removeEventListener("pointermove", drag);
      this.surface.removeEventListener("pointerup", drop);
      this.surface.removeEventListener("pointercancel", drop);
    };
    this.surface.setPointerCapture(event.pointerId);
    this.surface.addEventListener("pointermove", drag);
    this.surface.addEventListener("pointerup", drop);
    this.surface.addEventListener("pointercancel", drop);
  };

  dispose(): void {
    this.surface.removeEventListener("pointerdown", this.grab);
    this.surface.removeEventListener("wheel", this.wheel);
  }
}
