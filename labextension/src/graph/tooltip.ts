// The tooltip of a step under the pointer or the focus: delayed, and text only.

import { html } from "./dom";

const DELAY = 350;

export class StepTooltip {
  private readonly element = html("div", { class: "jpg-tip", hidden: true, role: "tooltip" });
  private timer = 0;

  constructor(private readonly host: HTMLElement) {
    host.append(this.element);
  }

  showLater(text: string, anchor: Element | undefined): void {
    window.clearTimeout(this.timer);
    this.timer = window.setTimeout(() => this.show(text, anchor), text ? DELAY : 0);
  }

  show(text: string, anchor: Element | undefined): void {
    if (!text || !anchor) {
      this.hide();
      return;
    }
    const { element } = this;
    element.textContent = text;
    element.hidden = false;
    const hostBox = this.host.getBoundingClientRect();
    const anchorBox = anchor.getBoundingClientRect();
    const height = element.offsetHeight;
    const below = anchorBox.bottom - hostBox.top + 6;
    const above = anchorBox.top - hostBox.top - height - 6;
    const top = below + height <= hostBox.height || above < 0 ? Math.min(below, Math.max(0, hostBox.height - height)) : above;
    element.style.top = `${top}px`;
    element.style.left = `${Math.max(0, Math.min(anchorBox.left - hostBox.left, hostBox.width - element.offsetWidth - 8))}px`;
  }

  hide(): void {
    window.clearTimeout(this.timer);
    this.element.hidden = true;
  }

  dispose(): void {
    window.clearTimeout(this.timer);
    this.element.remove();
  }
}
