// The widget in an output cell, as anywidget loads it. It passes documents to the graph panel, and actions to the kernel.

import { GraphPanel } from "./graph/graphPanel";
import type { GraphDocument, OutputPreview, DetailsSource, StatusDocument } from "./graph/documents";

interface WidgetModel {
  get(name: string): unknown;
  set(name: string, value: unknown): void;
  save_changes(): void;
  on(name: string, listener: (...values: never[]) => void): void;
  off(name: string, listener: (...values: never[]) => void): void;
  send(content: unknown): void;
  widget_manager?: { kernel?: { status?: string } | null };
}

interface WidgetMessage {
  statuses?: StatusDocument;
  detail?: { do: string; step?: string; output?: string; message?: string } & Record<string, unknown>;
}

type PendingRequest = { key: string; timer: number; resolve: (detail: Record<string, unknown>) => void; reject: (error: Error) => void };

const TIMEOUT = 20_000;
const NO_KERNEL = "no kernel: run the cell again to steer the pipeline from here";

function dispatchPageEvent(name: string, detail: Record<string, unknown>): void {
  document.dispatchEvent(new CustomEvent(`jupyter-pipelines:${name}`, { detail }));
}

class KernelSource implements DetailsSource {
  private pendingRequests: PendingRequest[] = [];

  constructor(
    private readonly model: WidgetModel,
    private readonly graph: () => GraphDocument,
    private readonly showError: (reason: string) => void,
  ) {}

  request(what: string, more: Record<string, unknown> = {}): Promise<Record<string, unknown>> {
    const key = [what, more.step ?? "", more.output ?? ""].join("\n");
    return new Promise((resolve, reject) => {
      const timer = window.setTimeout(() => {
        this.pendingRequests = this.pendingRequests.filter((request) => request.timer !== timer);
        reject(new Error("the kernel does not answer: it is busy or has ended"));
      }, TIMEOUT);
      this.pendingRequests.push({ key, timer, resolve, reject });
      try {
        this.model.send({ do: what, ...more });
      } catch {
        this.pendingRequests = this.pendingRequests.filter((request) => request.timer !== timer);
        window.clearTimeout(timer);
        reject(new Error(NO_KERNEL));
      }
    });
  }

  // Resolves the requests that the message answers; returns whether there were any.
  handleAnswer(detail: NonNullable<WidgetMessage["detail"]>): boolean {
    const key = [detail.do, detail.step ?? "", detail.output ?? ""].join("\n");
    const matching = this.pendingRequests.filter((request) => request.key === key);
    this.pendingRequests = this.pendingRequests.filter((request) => request.key !== key);
    matching.forEach((request) => window.clearTimeout(request.timer));
    matching.forEach((request) => (detail.message && detail.faults ? request.reject(new Error(detail.message)) : request.resolve(detail)));
    return matching.length > 0;
  }

  async preview(step: string, output: string): Promise<OutputPreview> {
    const answer = await this.request("preview", { step, output });
    return (answer.preview ?? answer) as OutputPreview;
  }

  async log(step: string): Promise<string> {
    return String((await this.request("log", { step })).text ?? "");
  }

  async dependencies(step: string): Promise<string[]> {
    return ((await this.request("dependencies", { step })).lines ?? []) as string[];
  }

  openCell(step: string): void {
    const cell = this.graph().nodes.find((node) => node.id === step)?.cells?.[0];
    dispatchPageEvent("open-step", { step, cell: cell?.id ?? null });
  }

  openNotebook(step: string): void {
    this.request("notebook", { step }).then(
      (answer) => dispatchPageEvent("open-notebook", { step, path: answer.path }),
      (error: Error) => this.showError(error.message),
    );
  }

  debug(step: string): void {
    this.model.send({ do: "debug", step });
  }

  dispose(): void {
    this.pendingRequests.forEach((request) => window.clearTimeout(request.timer));
    this.pendingRequests = [];
  }
}

function render({ model, el }: { model: WidgetModel; el: HTMLElement }): () => void {
  const graph = () => model.get("graph") as GraphDocument;
  const source = new KernelSource(model, graph, (reason) => graphPanel.showError(reason));
  const sendAction = (what: string, more: Record<string, unknown> = {}) => {
    try {
      model.send({ do: what, ...more });
    } catch {
      graphPanel.setDisabledReason(NO_KERNEL);
    }
  };
  const actions = {
    run: () => sendAction("run"),
    runTo: (step: string) => sendAction("to", { step }),
    force: (step: string) => sendAction("force", { step }),
    cancel: () => {
      // A kernel that executes the pipeline itself handles no messages meanwhile: the JupyterLab extension cancels the run through the server.
      dispatchPageEvent("cancel", { run: (model.get("statuses") as StatusDocument).run ?? null });
      sendAction("cancel");
    },
  };
  const graphPanel = new GraphPanel(el, source, actions, (id) => {
    model.set("selected", id);
    model.save_changes();
    dispatchPageEvent("select-step", { step: id });
  });
  graphPanel.setGraph(graph());
  graphPanel.setStatuses(model.get("statuses") as StatusDocument);
  const onGraph = () => graphPanel.setGraph(graph());
  const onStatuses = () => graphPanel.setStatuses(model.get("statuses") as StatusDocument);
  const onSelected = () => graphPanel.select(String(model.get("selected") ?? ""));
  // Widget managers that know their kernel have the property `kernel`, which is empty where there is no kernel.
  const managed = model.widget_manager;
  const hasNoKernel = () => Boolean(managed && "kernel" in managed && (!managed.kernel || managed.kernel.status === "dead"));
  const onMessage = (message: WidgetMessage) => {
    graphPanel.setDisabledReason("");
    if (message.statuses) {
      graphPanel.setStatuses(message.statuses);
    }
    if (message.detail && !source.handleAnswer(message.detail) && message.detail.message) {
      graphPanel.showError(message.detail.message);
    }
  };
  const listeners: [string, (...values: never[]) => void][] = [
    ["change:graph", onGraph],
    ["change:statuses", onStatuses],
    ["change:selected", onSelected],
    ["comm_live_update", () => graphPanel.setDisabledReason(NO_KERNEL)],
    ["msg:custom", onMessage as (...values: never[]) => void],
  ];
  listeners.forEach(([name, listener]) => model.on(name, listener));
  graphPanel.setDisabledReason(hasNoKernel() ? NO_KERNEL : "");
  sendAction("here");
  return () => {
    listeners.forEach(([name, listener]) => model.off(name, listener));
    source.dispose();
    graphPanel.dispose();
  };
}

export default { render };
