// The graph of a notebook in a tab of the main area.

import { Widget } from "@lumino/widgets";
import type { Message } from "@lumino/messaging";
import { GraphPanel } from "../graph/graphPanel";
import type { NotebookPipeline } from "../notebookPipeline";

export class GraphTab extends Widget {
  private readonly graphPanel: GraphPanel;
  private graphShown: unknown = null;

  constructor(
    private readonly model: NotebookPipeline,
  ) {
    super();
    this.addClass("jpp");
    const actions = {
      run: () => void model.run(),
      runTo: (step: string) => void model.run({ to: [step] }),
      force: (step: string) => void model.run({ to: [step], force: [step] }),
      cancel: () => void model.cancel(),
    };
    // The side panel shows the details of a step; the tab shows the drawing only.
    this.graphPanel = new GraphPanel(this.node, null, actions, (id) => model.select(id), true);
    this.graphPanel.view.on("open", (id) => void model.show(model.indexOf(id)));
    model.changed.connect(this.paint, this);
    model.panel.disposed.connect(() => this.close());
    this.paint();
  }

  protected override onResize(message: Widget.ResizeMessage): void {
    super.onResize(message);
    this.graphPanel.view.fit();
  }

  protected override onAfterShow(message: Message): void {
    super.onAfterShow(message);
    this.graphPanel.view.fit();
  }

  private paint(): void {
    const { graph } = this.model;
    if (this.isDisposed || !graph) {
      return;
    }
    if (graph !== this.graphShown) {
      this.graphShown = graph;
      this.graphPanel.setGraph(graph);
    }
    this.graphPanel.setStatuses(this.model.statuses);
    this.graphPanel.select(this.model.selected);
  }

  override dispose(): void {
    if (!this.isDisposed) {
      this.model.changed.disconnect(this.paint, this);
      this.graphPanel.dispose();
    }
    super.dispose();
  }
}
