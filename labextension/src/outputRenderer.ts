// Renders the graph of a saved output: without a kernel, and in untrusted notebooks as well, because nothing of it is
// executed and all of it is set as text. Where the widget of the same output is alive, the widget is shown instead.

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from "@jupyterlab/application";
import { INotebookTracker } from "@jupyterlab/notebook";
import { IRenderMimeRegistry } from "@jupyterlab/rendermime";
import type { IRenderMime } from "@jupyterlab/rendermime-interfaces";
import { Panel, Widget } from "@lumino/widgets";
import { GraphPanel } from "./graph/graphPanel";
import { validateGraph, validateStatuses } from "./graph/validate";
import type { GraphDocument, StatusDocument } from "./graph/documents";

export const MIME = "application/vnd.jupyter-pipelines.graph.v1+json";
const VIEW = "application/vnd.jupyter.widget-view+json";
const WIDGET_CONTENT = ".jpg, .jupyter-widgets";

type SavedOutput = { graph?: unknown; statuses?: unknown } | null | undefined;

class GraphOutput extends Panel implements IRenderMime.IRenderer {
  private graph: GraphDocument | null = null;
  private graphPanel: GraphPanel | null = null;
  private savedView: Widget | null = null;
  private widgetObserver: MutationObserver | null = null;
  private widgetRenderer: IRenderMime.IRenderer | null = null;
  private widgetId = "";

  constructor(private readonly registry: IRenderMimeRegistry | null) {
    super();
    this.addClass("jp-pipelines-output");
  }

  async renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    const saved = model.data[MIME] as SavedOutput;
    const graph = validateGraph(saved?.graph);
    if (typeof graph === "string") {
      this.showText(graph);
    } else {
      this.showSaved(graph, validateStatuses(saved?.statuses));
    }
    if (model.trusted && model.data[VIEW] && this.registry?.mimeTypes.includes(VIEW)) {
      await this.tryWidget(model, this.registry);
    }
  }

  private showText(text: string): void {
    this.graphPanel?.dispose();
    this.graphPanel = null;
    this.savedView?.dispose();
    this.savedView = new Widget();
    this.savedView.node.textContent = text;
    this.addWidget(this.savedView);
  }

  private showSaved(graph: GraphDocument, statuses: StatusDocument): void {
    this.graph = graph;
    if (!this.graphPanel) {
      this.savedView?.dispose();
      this.savedView = new Widget();
      this.addWidget(this.savedView);
      const open = (step: string) => {
        const cell = this.graph?.nodes.find((node) => node.id === step)?.cells?.[0]?.id ?? null;
        document.dispatchEvent(new CustomEvent("jupyter-pipelines:open-step", { detail: { step, cell } }));
      };
      this.graphPanel = new GraphPanel(this.savedView.node, { preview: rejectRequest, log: rejectRequest, openCell: open }, {}, undefined, false, true);
    }
    this.graphPanel.setGraph(graph);
    this.graphPanel.setStatuses({ ...statuses, running: false });
  }

  // The widget's own renderer shows "model not found" where there is no model: it stays hidden until it has content.
  private async tryWidget(model: IRenderMime.IMimeModel, registry: IRenderMimeRegistry): Promise<void> {
    const id = String((model.data[VIEW] as { model_id?: string }).model_id ?? "");
    // An updated output has the same widget, which is up to date already.
    if (this.widgetRenderer && id === this.widgetId) {
      return;
    }
    this.disposeWidget();
    const live = registry.createRenderer(VIEW);
    this.widgetRenderer = live;
    this.widgetId = id;
    live.hide();
    this.addWidget(live);
    const swap = () => {
      if (live.node.querySelector(WIDGET_CONTENT)) {
        this.widgetObserver?.disconnect();
        live.show();
        this.savedView?.hide();
      }
    };
    this.widgetObserver = new MutationObserver(swap);
    this.widgetObserver.observe(live.node, { childList: true, subtree: true });
    try {
      await live.renderModel(model);
    } catch {
      this.disposeWidget();
      return;
    }
    swap();
  }

  private disposeWidget(): void {
    this.widgetObserver?.disconnect();
    this.widgetRenderer?.dispose();
    this.widgetRenderer = null;
    this.widgetId = "";
    this.savedView?.show();
  }

  override dispose(): void {
    this.widgetObserver?.disconnect();
    this.graphPanel?.dispose();
    super.dispose();
  }
}

function rejectRequest(): Promise<never> {
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
    // Each notebook has its own registry, which knows the widgets of its kernel.
    notebooks?.widgetAdded.connect((_, panel) => {
      panel.content.rendermime.addFactory(factoryFor(panel.content.rendermime), -20);
    });
  },
};
