// Formats durations, sizes, times, states and reasons as text.

import { ATTEMPTED, DURATIONS, SIZES } from "../facts";
import type { AmountRule } from "../facts";
import type { StateStyle, DecisionReason, StepStatus } from "./documents";

const UNKNOWN: StateStyle = {
  word: "",
  icon: "M8 2.4a5.6 5.6 0 1 0 .01 0",
  light: ["#4d5661", "#eceff2"],
  dark: ["#a9b2bc", "#262c36"],
};

export function formatDuration(seconds: number): string {
  return written(seconds, DURATIONS);
}

export function formatBytes(count: number): string {
  return written(count, SIZES);
}

// As jupyter_pipelines/pipeline/amounts.py computes it, digit by digit.
function written(amount: number, rules: readonly AmountRule[]): string {
  const known = Math.max(0, amount);
  const rule = rules.find(({ below }) => below === null || known < below) ?? rules[rules.length - 1];
  const count = Math.floor(known / rule.unit + 0.5);
  const parts = rule.split === null ? [count] : [Math.floor(count / rule.split), count % rule.split];
  return rule.text.replace(/\{(\d)\}/g, (_, place: string) => String(parts[Number(place)]));
}

export function styleOf(looks: Record<string, StateStyle>, state: string): StateStyle {
  return Object.hasOwn(looks, state) ? looks[state] : { ...UNKNOWN, word: state };
}

// How long a step took; how long it runs already; how long it would have taken, had it not been reused.
export function stepTime(status: StepStatus | undefined, now: number): string {
  if (!status) {
    return "";
  }
  if (status.state === "running" && status.since) {
    return formatDuration(Math.max(0, (now - Date.parse(status.since)) / 1000));
  }
  if (status.saved !== undefined) {
    return `saved ${formatDuration(status.saved)}`;
  }
  return status.seconds !== undefined ? formatDuration(status.seconds) : "";
}

// The detail that is shown in a line beside the state.
export function stepDetail(status: StepStatus | undefined): string {
  if (!status) {
    return "";
  }
  if (status.state === "running") {
    const place = status.cell && status.cells ? `cell ${status.cell} of ${status.cells}` : "";
    const attempt = status.attempt && status.attempt > 1 ? `attempt ${status.attempt}` : "";
    return [attempt, place, status.text ?? ""].filter((part) => part).join(" · ") || status.detail || "";
  }
  if (status.detail || !ATTEMPTED.has(status.state)) {
    return status.detail || status.reason?.text || "";
  }
  return status.decision === "reuse" ? "up to date" : "";
}

// Why the step ran, and whether the next run computes or reuses it.
export function stepReasons(status: StepStatus): { text: string; details: string[] }[] {
  const reasons: { text: string; details: string[] }[] = [];
  const addReason = (lead: string, reason: DecisionReason | undefined, details?: string[]) => reason?.text && reasons.push({ text: `${lead}: ${reason.text}`, details: reason.details ?? details ?? [] });
  const done = ATTEMPTED.has(status.state);
  if (done || status.state === "running") {
    addReason(status.state === "reused" ? "reused" : done ? "why it ran" : "why it runs", status.reason);
  }
  const next = done ? status.next : status.state === "running" ? undefined : status.reason;
  const decision = status.decision ?? "";
  if (decision === "reuse" && (done || next)) {
    reasons.push({ text: "next run: reused, nothing has changed", details: [] });
  } else if (done && next && next.text === status.reason?.text) {
    reasons.push({ text: "next run: tried again", details: [] });
  } else if (decision === "run" || decision === "maybe") {
    addReason(decision === "run" ? "next run computes it" : "next run may compute it", next, status.notes);
  } else if (next) {
    addReason("next run", next, status.notes);
  }
  return reasons;
}

export function shorten(text: string, most: number): string {
  if (text.length <= most) {
    return text;
  }
  const half = Math.max(1, Math.floor((most - 1) / 2));
  return `${text.slice(0, most - 1 - half)}…${text.slice(-half)}`;
}

// Formats a time stamp: only the time if it is today, else day and time.
export function formatMoment(moment: string, now = new Date()): string {
  const then = new Date(moment);
  if (Number.isNaN(then.getTime())) {
    return moment;
  }
  const time = then.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
  const day = then.toLocaleDateString([], { day: "numeric", month: "short", ...(then.getFullYear() === now.getFullYear() ? {} : { year: "numeric" }) });
  return then.toDateString() === now.toDateString() ? time : `${day}, ${time}`;
}
