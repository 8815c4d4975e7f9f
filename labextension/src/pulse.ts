// Asks again while something is going on or amiss: soon at first, then at longer and longer intervals.

const FIRST = 1500;
const LONGEST = 12_000;
const GROWTH = 1.5;

export class Pulse {
  private timer = 0;
  private pause = FIRST;

  constructor(
    private readonly wanted: () => boolean,
    private readonly work: () => Promise<unknown>,
  ) {}

  // Begins, unless it beats already or there is nothing to ask for.
  start(): void {
    if (!this.timer && this.wanted()) {
      this.timer = window.setTimeout(() => void this.beat(), this.pause);
    } else if (!this.wanted()) {
      this.stop();
    }
  }

  // Begins anew with short intervals: something has changed.
  restart(): void {
    this.stop();
    this.start();
  }

  private async beat(): Promise<void> {
    this.pause = Math.min(LONGEST, this.pause * GROWTH);
    await this.work();
    this.timer = 0;
    this.start();
  }

  stop(): void {
    window.clearTimeout(this.timer);
    this.timer = 0;
    this.pause = FIRST;
  }
}
