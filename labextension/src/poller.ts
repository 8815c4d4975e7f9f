// Polls with growing intervals while a run is active or the server does not answer.

const FIRST = 1500;
const LONGEST = 12_000;
const GROWTH = 1.5;

export class BackoffPoller {
  private timer = 0;
  private pause = FIRST;

  constructor(
    private readonly isNeeded: () => boolean,
    private readonly poll: () => Promise<unknown>,
  ) {}

  // Starts polling, unless it is active already or not needed.
  start(): void {
    if (!this.timer && this.isNeeded()) {
      this.timer = window.setTimeout(() => void this.tick(), this.pause);
    } else if (!this.isNeeded()) {
      this.stop();
    }
  }

  // Restarts with the shortest interval, because something has changed.
  restart(): void {
    this.stop();
    this.start();
  }

  private async tick(): Promise<void> {
    this.pause = Math.min(LONGEST, this.pause * GROWTH);
    await this.poll();
    this.timer = 0;
    this.start();
  }

  stop(): void {
    window.clearTimeout(this.timer);
    this.timer = 0;
    this.pause = FIRST;
  }
}
