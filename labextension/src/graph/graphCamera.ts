// The visible part of a drawing: offset and scale, changed by pointer, wheel and keys.

export interface BoxBounds {
  x: number;
  y: number;
  width: number;
  height: number;
}

interface HeldPointer {
  x: number;
  y: number;
  onBox: boolean;
}

const SMALLEST = 0.04;
const GREATEST = 2.5;

export class GraphCamera {
  x = 0;
  y = 0;
  scale = 1;
  private readonly pointers = new Map<number, HeldPointer>();

  constructor(
    private readonly surface: SVGElement,
    private readonly onChange: () => void,
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

  // The visible part of the drawing, and half a screen around it.
  get visibleBounds(): BoxBounds {
    const { width, height } = this.size;
    const margin = 0.5;
    return {
      x: (-this.x - width * margin) / this.scale,
      y: (-this.y - height * margin) / this.scale,
      width: (width * (1 + 2 * margin)) / this.scale,
      height: (height * (1 + 2 * margin)) / this.scale,
    };
  }

  move(dx: number, dy: number): void {
    this.x += dx;
    this.y += dy;
    this.onChange();
  }

  zoom(factor: number, atX = this.size.width / 2, atY = this.size.height / 2): void {
    const scale = Math.min(GREATEST, Math.max(SMALLEST, this.scale * factor));
    this.x = atX - ((atX - this.x) * scale) / this.scale;
    this.y = atY - ((atY - this.y) * scale) / this.scale;
    this.scale = scale;
    this.onChange();
  }

  fit(width: number, height: number, most = 1): void {
    const viewport = this.size;
    this.scale = Math.max(SMALLEST, Math.min(most, viewport.width / Math.max(width, 1), viewport.height / Math.max(height, 1)));
    this.x = Math.max(0, (viewport.width - width * this.scale) / 2);
    this.y = Math.max(0, (viewport.height - height * this.scale) / 2);
    this.onChange();
  }

  // Scrolls as little as necessary to make a box visible.
  show(box: BoxBounds, center = false): void {
    const viewport = this.size;
    const left = box.x * this.scale + this.x;
    const top = box.y * this.scale + this.y;
    const pad = 12;
    if (center) {
      this.x += viewport.width / 2 - left - (box.width * this.scale) / 2;
      this.y += viewport.height / 2 - top - (box.height * this.scale) / 2;
    } else {
      this.x += Math.max(0, pad - left) - Math.max(0, left + box.width * this.scale - viewport.width + pad);
      this.y += Math.max(0, pad - top) - Math.max(0, top + box.height * this.scale - viewport.height + pad);
    }
    this.onChange();
  }

  private readonly wheel = (event: WheelEvent): void => {
    if (!event.ctrlKey && !event.metaKey) {
      return; // the page scrolls
    }
    event.preventDefault();
    const box = this.surface.getBoundingClientRect();
    this.zoom(Math.exp(-event.deltaY * 0.0022), event.clientX - box.left, event.clientY - box.top);
  };

  // A single pointer moves the drawing, two pointers zoom it. A pointer on a box is left to the box, unless it is the second pointer.
  private readonly grab = (event: PointerEvent): void => {
    const onBox = Boolean((event.target as Element).closest(".jpg-node"));
    if (event.button !== 0 || this.pointers.size > 1 || (onBox && event.pointerType !== "touch")) {
      return;
    }
    this.pointers.set(event.pointerId, { x: event.clientX, y: event.clientY, onBox });
    if (!onBox) {
      this.surface.setPointerCapture(event.pointerId);
    }
  };

  private readonly drag = (event: PointerEvent): void => {
    const previous = this.pointers.get(event.pointerId);
    if (!previous) {
      return;
    }
    const current = { ...previous, x: event.clientX, y: event.clientY };
    const other = [...this.pointers].find(([id]) => id !== event.pointerId)?.[1];
    this.pointers.set(event.pointerId, current);
    if (other) {
      const distanceTo = (pointer: HeldPointer) => Math.max(1, Math.hypot(pointer.x - other.x, pointer.y - other.y));
      const box = this.surface.getBoundingClientRect();
      this.zoom(distanceTo(current) / distanceTo(previous), (current.x + other.x) / 2 - box.left, (current.y + other.y) / 2 - box.top);
      this.move((current.x - previous.x) / 2, (current.y - previous.y) / 2);
    } else if (!previous.onBox) {
      this.move(current.x - previous.x, current.y - previous.y);
    }
  };

  private readonly drop = (event: PointerEvent): void => {
    this.pointers.delete(event.pointerId);
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
