// The documents that the Python side makes (docs/documents.md), and what the parts of the front end say to each other.

export interface Look {
  word: string;
  icon: string;
  light: [string, string];
  dark: [string, string];
}

export interface Interface {
  name: string;
  from?: string;
  kind?: "value" | "file" | "folder";
  format?: string;
  optional?: boolean;
}

export interface GraphNode {
  id: string;
  kind: "step" | "file" | "group";
  name: string;
  x: number;
  y: number;
  width: number;
  height: number;
  group?: string;
  count?: number;
  cells?: { id: string | null; number: number }[];
  inputs?: Interface[];
  outputs?: Interface[];
  parameters?: string[];
  resources?: Record<string, unknown>;
  order?: number;
}

export interface GraphEdge {
  from: string;
  to: string | null;
  names?: string[];
  path: string;
  label?: [number, number] | null;
}

export interface Rail {
  id: string;
  lane: number;
  through: number[];
  from: number[];
  ends: number[];
  to: number[];
}

export interface Parameter {
  name: string;
  type: string;
  default: unknown;
  required?: boolean;
  nullable?: boolean;
  choices?: unknown[];
  limits?: Record<string, unknown>;
  description?: string;
  annotation?: string;
}

export interface Drawing {
  width: number;
  height: number;
  nodes: GraphNode[];
  edges: GraphEdge[];
}

export interface Graph extends Drawing {
  schema: string;
  title: string;
  rails: Rail[];
  groups: { id: string; name: string; steps: string[] }[];
  overview: Drawing | null;
  parameters: Parameter[];
  looks: Record<string, Look>;
}

export interface Failure {
  code?: string;
  message?: string;
  type?: string | null;
  cell?: number | null;
  line?: number | null;
}

export interface Reason {
  code: string;
  text: string;
  details?: string[];
}

export interface StepStatus {
  state: string;
  detail?: string;
  seconds?: number;
  saved?: number;
  notes?: string[];
  since?: string;
  attempt?: number;
  cell?: number;
  cells?: number;
  text?: string;
  decision?: string;
  reason?: Reason;
  next?: Reason; // why the next run computes or reuses it, where `reason` is why it ran
  origin?: { run: string; created: string };
  key?: string | null;
  error?: Failure;
  notebook?: string;
}

export interface Statuses {
  schema?: string;
  steps: Record<string, StepStatus>;
  run?: string | null;
  running?: boolean;
  headline?: string;
  critical?: string[];
}

export interface Preview {
  name: string;
  type?: string | null;
  format?: string | null;
  bytes?: number | null;
  digest?: string | null;
  shape?: number[] | null;
  columns?: { name: string; dtype: string }[] | null;
  head?: string[][] | null;
  text?: string | null;
  image?: string | null;
  outdated?: string;
  error?: string;
}

// Where the details of a step come from: a kernel through the widget, or the server through REST.
export interface Source {
  live?: boolean; // logs may be asked for again and again
  preview(step: string, output: string): Promise<Preview>;
  log(step: string): Promise<string>;
  openCell?(step: string): void;
  openNotebook?(step: string): void;
  debug?(step: string): void;
}

export type GraphEvent = "select" | "open";
export type Listener = (id: string) => void;

export interface View {
  setGraph(graph: Graph): void;
  setStatuses(statuses: Statuses): void;
  select(id: string): void;
  on(event: GraphEvent, listener: Listener): void;
  dispose(): void;
}
