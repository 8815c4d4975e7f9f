// What of a drawing is seen: a move and a scale, changed by pointer, wheel and keys.

export interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

interface Held {
  x: number;
  y: number;
  still: boolean;
}

const SMALLEST = 0.04;
const GREATEST = 2.5;

export class Camera {
  x = 0;
  y = 0;
  scale = 1;
  private readonly held = new Map<number, Held>();

  constructor(
    private readonly surface: SVGElement,
    private readonly changed: () => void,
  ) {
    surface.addEventListener("pointerdown", this.grab);
    surface.addEventListener("pointermove", this.drag);
    for (const name of ["pointerup", "pointercancel", "lostpointercapture"] as const) {
      surface.addEventListener(name, this.drop);
    }
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

  // One pointer moves the drawing, two zoom it. A pointer on a box is left to the box, unless it is the second one.
  private readonly grab = (event: PointerEvent): void => {
    const onBox = Boolean((event.target as Element).closest(".jpg-node"));
    if (event.button !== 0 || this.held.size > 1 || (onBox && event.pointerType !== "touch")) {
      return;
    }
    this.held.set(event.pointerId, { x: event.clientX, y: event.clientY, still: onBox });
    if (!onBox) {
      this.surface.setPointerCapture(event.pointerId);
    }
  };

  private readonly drag = (event: PointerEvent): void => {
    const was = this.held.get(event.pointerId);
    if (!was) {
      return;
    }
    const now = { ...was, x: event.clientX, y: event.clientY };
    const other = [...this.held].find(([id]) => id !== event.pointerId)?.[1];
    this.held.set(event.pointerId, now);
    if (other) {
      const apart = (one: Held) => Math.max(1, Math.hypot(one.x - other.x, one.y - other.y));
      const box = this.surface.getBoundingClientRect();
      this.zoom(apart(now) / apart(was), (now.x + other.x) / 2 - box.left, (now.y + other.y) / 2 - box.top);
      this.move((now.x - was.x) / 2, (now.y - was.y) / 2);
    } else if (!was.still) {
      this.move(now.x - was.x, now.y - was.y);
    }
  };

  private readonly drop = (event: PointerEvent): void => {
    this.held.delete(event.pointerId);
  };

  dispose(): void {
    this.surface.removeEventListener("pointermove", this.drag);
    for (const name of ["pointerup", "pointercancel", "lostpointercapture"] as const) {
      this.surface.removeEventListener(name, this.drop);
    }
    this.surface.removeEventListener("pointerdown", this.grab);
    this.surface.removeEventListener("wheel", this.wheel);
  }
}
