// Shows the graph of a saved output: without a kernel, and in notebooks that are not trusted, because nothing of it is
// executed and all of it is set as text. Where the widget of the same output is alive, the widget takes its place.

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from "@jupyterlab/application";
import { INotebookTracker } from "@jupyterlab/notebook";
import { IRenderMimeRegistry } from "@jupyterlab/rendermime";
import type { IRenderMime } from "@jupyterlab/rendermime-interfaces";
import { Panel, Widget } from "@lumino/widgets";
import { Board } from "./graph/board";
import { soundGraph, soundStatuses } from "./graph/sound";
import type { Graph, Statuses } from "./graph/types";

export const MIME = "application/vnd.jupyter-pipelines.graph.v1+json";
const VIEW = "application/vnd.jupyter.widget-view+json";
const ALIVE = ".jpg, .jupyter-widgets";

type Saved = { graph?: unknown; statuses?: unknown } | null | undefined;

class GraphOutput extends Panel implements IRenderMime.IRenderer {
  private graph: Graph | null = null;
  private board: Board | null = null;
  private picture: Widget | null = null;
  private watcher: MutationObserver | null = null;
  private live: IRenderMime.IRenderer | null = null;
  private shown = "";

  constructor(private readonly registry: IRenderMimeRegistry | null) {
    super();
    this.addClass("jp-pipelines-output");
  }

  async renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    const saved = model.data[MIME] as Saved;
    const graph = soundGraph(saved?.graph);
    if (typeof graph === "string") {
      this.say(graph);
    } else {
      this.showSaved(graph, soundStatuses(saved?.statuses));
    }
    if (model.trusted && model.data[VIEW] && this.registry?.mimeTypes.includes(VIEW)) {
      await this.tryWidget(model, this.registry);
    }
  }

  private say(text: string): void {
    this.board?.dispose();
    this.board = null;
    this.picture?.dispose();
    this.picture = new Widget();
    this.picture.node.textContent = text;
    this.addWidget(this.picture);
  }

  private showSaved(graph: Graph, statuses: Statuses): void {
    this.graph = graph;
    if (!this.board) {
      this.picture?.dispose();
      this.picture = new Widget();
      this.addWidget(this.picture);
      const open = (step: string) => {
        const cell = this.graph?.nodes.find((one) => one.id === step)?.cells?.[0]?.id ?? null;
        document.dispatchEvent(new CustomEvent("jupyter-pipelines:open-step", { detail: { step, cell } }));
      };
      this.board = new Board(this.picture.node, { preview: refused, log: refused, openCell: open }, {}, undefined, false, true);
    }
    this.board.setGraph(graph);
    this.board.setStatuses({ ...statuses, running: false });
  }

  // The widget's own renderer says "model not found" where there is none: it is shown only once it has something.
  private async tryWidget(model: IRenderMime.IMimeModel, registry: IRenderMimeRegistry): Promise<void> {
    const id = String((model.data[VIEW] as { model_id?: string }).model_id ?? "");
    // An output that is brought up to date has the same widget, which is up to date already.
    if (this.live && id === this.shown) {
      return;
    }
    this.forget();
    const live = registry.createRenderer(VIEW);
    this.live = live;
    this.shown = id;
    live.hide();
    this.addWidget(live);
    const swap = () => {
      if (live.node.querySelector(ALIVE)) {
        this.watcher?.disconnect();
        live.show();
        this.picture?.hide();
      }
    };
    this.watcher = new MutationObserver(swap);
    this.watcher.observe(live.node, { childList: true, subtree: true });
    try {
      await live.renderModel(model);
    } catch {
      this.forget();
      return;
    }
    swap();
  }

  private forget(): void {
    this.watcher?.disconnect();
    this.live?.dispose();
    this.live = null;
    this.shown = "";
    this.picture?.show();
  }

  override dispose(): void {
    this.watcher?.disconnect();
    this.board?.dispose();
    super.dispose();
  }
}

function refused(): Promise<never> {
  return Promise.reject(new Error("this is a saved picture: run `%pipeline show` to look into stored outputs and logs"));
}

export const renderer: JupyterFrontEndPlugin<void> = {
  id: "@jupyter-pipelines/labextension:renderer",
  description: "Shows the graph of a pipeline in outputs.",
  autoStart: true,
  requires: [IRenderMimeRegistry],
  optional: [INotebookTracker],
  activate: (_app: JupyterFrontEnd, registry: IRenderMimeRegistry, notebooks: INotebookTracker | null) => {
    const factoryFor = (own: IRenderMimeRegistry): IRenderMime.IRendererFactory => ({
      safe: true,
      mimeTypes: [MIME],
      createRenderer: () => new GraphOutput(own),
    });
    registry.addFactory(factoryFor(registry), -20);
    // Each notebook has a registry of its own, in which the widgets of its kernel are known.
    notebooks?.widgetAdded.connect((_, panel) => {
      panel.content.rendermime.addFactory(factoryFor(panel.content.rendermime), -20);
    });
  },
};
