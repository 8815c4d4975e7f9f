// Written by labextension/facts.py (`make front`): the facts stand in Python, and a change here is lost.

export interface HeaderOption {
  name: string;
  takes: string;
  label: string;
  help: string;
}

// `text` for amounts below a limit: {0} is the count of units, or the quotient of count and `split`, {1} the remainder.
export interface AmountRule {
  below: number | null;
  unit: number;
  split: number | null;
  text: string;
}

export const HEADER_OPTIONS: readonly HeaderOption[] = [
  {"name": "in", "takes": "items", "label": "Inputs", "help": "what the step takes: `rows`, or `raw=data/x.csv` for a file"},
  {"name": "out", "takes": "items", "label": "Outputs", "help": "what the step makes: `model`, or `chart:file` for a file it writes"},
  {"name": "param", "takes": "items", "label": "Parameters", "help": "parameters the step uses"},
  {"name": "after", "takes": "names", "label": "", "help": "steps to wait for without taking anything from them"},
  {"name": "optional", "takes": "names", "label": "", "help": "inputs that may be missing; they are then None"},
  {"name": "foreach", "takes": "axes", "label": "", "help": "run once for each value: 2,4,8, a parameter that holds a list, a folder or a pattern of files"},
  {"name": "at-once", "takes": "count", "label": "", "help": "how many items of a --foreach may run at once"},
  {"name": "allow-failed", "takes": "share", "label": "", "help": "how many items of a --foreach may fail"},
  {"name": "retries", "takes": "count", "label": "", "help": "how often to try again after a failure"},
  {"name": "timeout", "takes": "duration", "label": "", "help": "stop an attempt after this time: 90, 30s, 2h"},
  {"name": "no-cache", "takes": "nothing", "label": "", "help": "never reuse the result"},
  {"name": "cache-for", "takes": "lifetime", "label": "", "help": "how long to accept the result of code that asks the network or a program: 12h, 1d, forever"},
  {"name": "ignore", "takes": "paths", "label": "", "help": "files of the project that do not count: logs/, *.tmp"},
  {"name": "always", "takes": "nothing", "label": "", "help": "run even if what is before it failed"},
  {"name": "cpus", "takes": "count", "label": "", "help": "cores the step needs"},
  {"name": "gpus", "takes": "count", "label": "", "help": "GPUs the step needs"},
  {"name": "memory", "takes": "size", "label": "", "help": "memory the step needs: 512M, 8G"},
  {"name": "on", "takes": "text", "label": "", "help": "where the step runs"},
  {"name": "kernel", "takes": "text", "label": "", "help": "the kernel the step runs in"},
];

export const DURATIONS: readonly AmountRule[] = [
  {"below": 9.95, "unit": 0.1, "split": 10, "text": "{0}.{1} s"},
  {"below": 59.5, "unit": 1, "split": null, "text": "{0} s"},
  {"below": 3599.5, "unit": 1, "split": 60, "text": "{0} min {1} s"},
  {"below": null, "unit": 60, "split": 60, "text": "{0} h {1} min"},
];

export const SIZES: readonly AmountRule[] = [
  {"below": 1, "unit": 1, "split": null, "text": "{0} bytes"},
  {"below": 2, "unit": 1, "split": null, "text": "{0} byte"},
  {"below": 1000, "unit": 1, "split": null, "text": "{0} bytes"},
  {"below": 999950, "unit": 100, "split": 10, "text": "{0}.{1} kB"},
  {"below": 999950000, "unit": 100000, "split": 10, "text": "{0}.{1} MB"},
  {"below": 999950000000, "unit": 100000000, "split": 10, "text": "{0}.{1} GB"},
  {"below": null, "unit": 100000000000, "split": 10, "text": "{0}.{1} TB"},
];

export const STATE_WORDS: Record<string, string> = {"succeeded": "done", "reused": "reused", "failed": "failed", "blocked": "blocked", "skipped": "skipped", "cancelled": "cancelled", "lost": "lost", "pending": "waiting", "deciding": "waiting", "ready": "waiting", "waiting": "waiting", "running": "running", "retrying": "trying again", "run": "run", "reuse": "reuse", "maybe": "maybe", "skip": "skip", "never run": "never run", "fresh": "fresh", "edited": "edited", "stale": "stale"};

export const SUCCESSFUL: ReadonlySet<string> = new Set(["reused", "succeeded"]);

export const ATTEMPTED: ReadonlySet<string> = new Set(["cancelled", "failed", "lost", "reused", "succeeded"]);

export const FINISHED: ReadonlySet<string> = new Set(["blocked", "cancelled", "failed", "lost", "reused", "skipped", "succeeded"]);

export const NOT_STARTED: ReadonlySet<string> = new Set(["deciding", "pending", "ready"]);

export const OUTDATED: ReadonlySet<string> = new Set(["blocked", "edited", "maybe", "never run", "run", "stale"]);

export const FINISHED_RUNS: ReadonlySet<string> = new Set(["cancelled", "failed", "lost", "succeeded"]);
