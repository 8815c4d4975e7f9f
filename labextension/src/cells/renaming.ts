// Other names, wherever they are used; and outputs that become inputs.

import { InputDialog, Notification } from "@jupyterlab/apputils";
import { messageOf } from "../model";
import type { NotebookPipeline } from "../model";

interface Changed {
  cells: Record<string, string>;
}

async function apply(model: NotebookPipeline, what: string, body: Record<string, unknown>): Promise<void> {
  try {
    const { cells } = await model.api.edit<Changed>(model.path, what, { cells: model.texts(), ...body });
    model.write(cells);
  } catch (error) {
    Notification.error(messageOf(error), { autoClose: 10_000 });
  }
}

export async function renameStep(model: NotebookPipeline, step: string): Promise<void> {
  const answer = await InputDialog.getText({ title: `Rename step ${step}`, label: "New name", text: step });
  if (answer.button.accept && answer.value && answer.value !== step) {
    await apply(model, "rename", { kind: "step", from: step, to: answer.value });
    model.select(answer.value);
  }
}

export async function renameOutput(model: NotebookPipeline, step: string): Promise<void> {
  const outputs = model.graph?.nodes.find((one) => one.id === step)?.outputs?.map((one) => one.name) ?? [];
  if (!outputs.length) {
    Notification.info(`Step ${step} makes nothing that could be renamed.`, { autoClose: 4000 });
    return;
  }
  const which = outputs.length === 1 ? outputs[0] : (await InputDialog.getItem({ title: `Rename an output of ${step}`, items: outputs })).value;
  const answer = which ? await InputDialog.getText({ title: `Rename ${which}`, label: "New name", text: which }) : null;
  if (which && answer?.button.accept && answer.value && answer.value !== which) {
    await apply(model, "rename", { kind: "output", step, from: which, to: answer.value });
  }
}

export async function connect(model: NotebookPipeline, source: string, target: string): Promise<void> {
  await apply(model, "connect", { from: source, to: target });
}

export async function chooseAndConnect(model: NotebookPipeline, target: string): Promise<void> {
  const outputs = (model.graph?.nodes ?? []).flatMap((node) => (node.kind === "step" && node.id !== target ? (node.outputs ?? []).map((one) => `${node.id}.${one.name}`) : []));
  const answer = await InputDialog.getItem({ title: `Connect an output to ${target}`, label: "Output", items: outputs });
  if (answer.button.accept && answer.value) {
    await connect(model, answer.value, target);
  }
}
