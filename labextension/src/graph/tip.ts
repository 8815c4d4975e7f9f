// What the pointer or the focus shows of a step: after a moment, out of the way, and text only.

import { html } from "./elements";

const PAUSE = 350;

export class Tip {
  private readonly element = html("div", { class: "jpg-tip", hidden: true, role: "tooltip" });
  private waiting = 0;

  constructor(private readonly home: HTMLElement) {
    home.append(this.element);
  }

  later(text: string, anchor: Element | undefined): void {
    window.clearTimeout(this.waiting);
    this.waiting = window.setTimeout(() => this.show(text, anchor), text ? PAUSE : 0);
  }

  show(text: string, anchor: Element | undefined): void {
    if (!text || !anchor) {
      this.hide();
      return;
    }
    const { element } = this;
    element.textContent = text;
    element.hidden = false;
    const home = this.home.getBoundingClientRect();
    const at = anchor.getBoundingClientRect();
    const height = element.offsetHeight;
    const below = at.bottom - home.top + 6;
    const above = at.top - home.top - height - 6;
    const top = below + height <= home.height || above < 0 ? Math.min(below, Math.max(0, home.height - height)) : above;
    element.style.top = `${top}px`;
    element.style.left = `${Math.max(0, Math.min(at.left - home.left, home.width - element.offsetWidth - 8))}px`;
  }

  hide(): void {
    window.clearTimeout(this.waiting);
    this.element.hidden = true;
  }

  dispose(): void {
    window.clearTimeout(this.waiting);
    this.element.remove();
  }
}
