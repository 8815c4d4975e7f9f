// The widget in an output cell: what anywidget loads. It brings documents to the board, and wishes to the kernel.

import { Board } from "./graph/board";
import type { Graph, Preview, Source, Statuses } from "./graph/types";

interface Model {
  get(name: string): unknown;
  set(name: string, value: unknown): void;
  save_changes(): void;
  on(name: string, listener: (...values: never[]) => void): void;
  off(name: string, listener: (...values: never[]) => void): void;
  send(content: unknown): void;
  widget_manager?: { kernel?: { status?: string } | null };
}

interface Message {
  statuses?: Statuses;
  detail?: { do: string; step?: string; output?: string; message?: string } & Record<string, unknown>;
}

type Waiting = { key: string; patience: number; settle: (detail: Record<string, unknown>) => void; fail: (error: Error) => void };

const PATIENCE = 20_000;
const ALONE = "no kernel: run the cell again to steer the pipeline from here";

function tellPage(name: string, detail: Record<string, unknown>): void {
  document.dispatchEvent(new CustomEvent(`jupyter-pipelines:${name}`, { detail }));
}

class Conversation implements Source {
  private waiting: Waiting[] = [];

  constructor(
    private readonly model: Model,
    private readonly graph: () => Graph,
    private readonly refuse: (why: string) => void,
  ) {}

  ask(what: string, more: Record<string, unknown> = {}): Promise<Record<string, unknown>> {
    const key = [what, more.step ?? "", more.output ?? ""].join("\n");
    return new Promise((settle, fail) => {
      const patience = window.setTimeout(() => {
        this.waiting = this.waiting.filter((one) => one.patience !== patience);
        fail(new Error("the kernel does not answer: it is busy or has ended"));
      }, PATIENCE);
      this.waiting.push({ key, patience, settle, fail });
      try {
        this.model.send({ do: what, ...more });
      } catch {
        this.waiting = this.waiting.filter((one) => one.patience !== patience);
        window.clearTimeout(patience);
        fail(new Error(ALONE));
      }
    });
  }

  // Tells whether somebody had asked for it.
  answered(detail: NonNullable<Message["detail"]>): boolean {
    const key = [detail.do, detail.step ?? "", detail.output ?? ""].join("\n");
    const mine = this.waiting.filter((one) => one.key === key);
    this.waiting = this.waiting.filter((one) => one.key !== key);
    mine.forEach((one) => window.clearTimeout(one.patience));
    mine.forEach((one) => (detail.message && detail.faults ? one.fail(new Error(detail.message)) : one.settle(detail)));
    return mine.length > 0;
  }

  async preview(step: string, output: string): Promise<Preview> {
    const answer = await this.ask("preview", { step, output });
    return (answer.preview ?? answer) as Preview;
  }

  async log(step: string): Promise<string> {
    return String((await this.ask("log", { step })).text ?? "");
  }

  openCell(step: string): void {
    const cell = this.graph().nodes.find((one) => one.id === step)?.cells?.[0];
    tellPage("open-step", { step, cell: cell?.id ?? null });
  }

  openNotebook(step: string): void {
    this.ask("notebook", { step }).then(
      (answer) => tellPage("open-notebook", { step, path: answer.path }),
      (error: Error) => this.refuse(error.message),
    );
  }

  debug(step: string): void {
    this.model.send({ do: "debug", step });
  }

  dispose(): void {
    this.waiting.forEach((one) => window.clearTimeout(one.patience));
    this.waiting = [];
  }
}

function render({ model, el }: { model: Model; el: HTMLElement }): () => void {
  const graph = () => model.get("graph") as Graph;
  const talk = new Conversation(model, graph, (why) => board.refuse(why));
  const wish = (what: string, more: Record<string, unknown> = {}) => {
    try {
      model.send({ do: what, ...more });
    } catch {
      board.bar(ALONE);
    }
  };
  const actions = {
    run: () => wish("run"),
    runTo: (step: string) => wish("to", { step }),
    force: (step: string) => wish("force", { step }),
    cancel: () => {
      // A kernel that runs the pipeline itself hears nothing meanwhile: whoever reaches the run otherwise may help.
      tellPage("cancel", { run: (model.get("statuses") as Statuses).run ?? null });
      wish("cancel");
    },
  };
  const board = new Board(el, talk, actions, (id) => {
    model.set("selected", id);
    model.save_changes();
    tellPage("select-step", { step: id });
  });
  board.setGraph(graph());
  board.setStatuses(model.get("statuses") as Statuses);
  const onGraph = () => board.setGraph(graph());
  const onStatuses = () => board.setStatuses(model.get("statuses") as Statuses);
  const onSelected = () => board.select(String(model.get("selected") ?? ""));
  // Managers that know of their kernel have the property, with nothing in it where there is no kernel.
  const managed = model.widget_manager;
  const alone = () => Boolean(managed && "kernel" in managed && (!managed.kernel || managed.kernel.status === "dead"));
  const onMessage = (message: Message) => {
    board.bar("");
    if (message.statuses) {
      board.setStatuses(message.statuses);
    }
    if (message.detail && !talk.answered(message.detail) && message.detail.message) {
      board.refuse(message.detail.message);
    }
  };
  const listeners: [string, (...values: never[]) => void][] = [
    ["change:graph", onGraph],
    ["change:statuses", onStatuses],
    ["change:selected", onSelected],
    ["comm_live_update", () => board.bar(ALONE)],
    ["msg:custom", onMessage as (...values: never[]) => void],
  ];
  listeners.forEach(([name, listener]) => model.on(name, listener));
  board.bar(alone() ? ALONE : "");
  wish("here");
  return () => {
    listeners.forEach(([name, listener]) => model.off(name, listener));
    talk.dispose();
    board.dispose();
  };
}

export default { render };
