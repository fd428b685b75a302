/** What the server says, as TypeScript types; the names are the API's own. */
export type Range = [first: number, last: number];
export type Role = "reader" | "writer" | "admin";

export type Source = {
  n: number;
  uri: string;
  lines: Range;
  context: string;
  language: string;
  kind: string;
  score: number;
  preview: string;
};
export type Citation = { n: number; uri: string; lines: Range; quote: string; score: number; source: number };
export type ModelAnswer = { model: string; text: string; seconds: number; error?: string | null };
export type Agreement = { score: number | null; low: boolean; answers: ModelAnswer[] };
export type Started = { answer_id: string; session: string; workspace: string; release: string | number; model: string };

export type AnswerBody = {
  answer_id: string;
  session: string;
  text: string;
  abstained: boolean;
  reason?: string | null;
  citations: Citation[];
  sources: Source[];
  unsupported: string[];
  model: string;
  release: string | number | null;
  usage: { prompt_tokens: number; completion_tokens: number };
  cost_usd: number;
  cached: boolean;
  logged: boolean;
  timings_ms: Record<string, number>;
  agreement?: Agreement | null;
  trace_id?: string | null;
};

export type Scores = { vector?: number; keyword?: number; fused?: number; rerank?: number };
export type Shown = { chunk: string; uri: string; lines: Range; rank: number; score: number; scores?: Scores };
/** All that is known of an answer, from the log and from the release that made it. */
export type Explained = {
  answer_id: string;
  at: string;
  question: string;
  rewritten?: string | null;
  model: string;
  route?: string;
  release: string;
  index: string;
  embedder: string;
  prompt: string;
  trace: string;
  cited: number[];
  shown: Shown[];
  prompt_tokens: number;
  completion_tokens: number;
  cost_usd: number;
  timings_ms: Record<string, number>;
  glossary?: string[];
  second_look?: { by: string; model?: string } | null;
  release_details?: {
    sha: string;
    created_at: string;
    reason: string;
    git_sha: string;
    index: { store: string; chunks: number; built_at: string };
    fusion: { method: string; weight: number; code_weight: number | null };
  } | null;
};

export type SessionInfo = { id: string; workspace: string; title: string; turns: number; created_at: string; updated_at: string };
export type SessionTurn = {
  answer_id: string;
  at: string;
  question: string;
  text: string;
  abstained: boolean;
  aborted: boolean;
  citations: { n: number; source: number; lines: Range }[];
  sources: { n: number; uri: string; lines: Range; score: number }[];
  model: string;
  release: string;
  usage: { prompt_tokens: number; completion_tokens: number };
  cost_usd: number;
  timings_ms: Record<string, number>;
  trace_id: string;
  vote: 1 | -1 | null;
};

export type ChatRequest = {
  message: string;
  session?: string;
  workspace: string;
  model?: string;
  compare?: string[];
  filters?: Record<string, string>;
  idempotency_key: string;
};

export type SourceText = { uri: string; first_line: number; lines: string[]; highlight: Range; language: string };
export type Feedback =
  | { answer_id: string; kind: "vote"; value: 1 | -1; reason?: string }
  | { answer_id: string; kind: "click"; n: number }
  | { answer_id: string; kind: "correction"; text: string };

export type Doc = {
  id: string;
  workspace: string;
  name: string;
  uri: string;
  type: string;
  size: number;
  status: "submitted" | "processed" | "error";
  reason?: string | null;
  chunks?: number | null;
  created_at: string;
  updated_at: string;
};
export type Documents = { documents: Doc[]; next?: string | null };
export type Deleted = { id: string; status: string; models_trained_on?: string[] };

export type Workspace = { id: string; name: string; role: Role; documents?: number };
export type Model = { id: string; owned_by?: string };
export type Budget = { tokens_used: number; tokens_limit: number | null; usd_used: number; usd_limit: number | null };
export type Spent = {
  account: string;
  period: string;
  tokens: number;
  usd: number;
  tokens_limit: number | null;
  usd_limit: number | null;
};
export type Me = { user: string; roles: Record<string, Role>; scopes: string[]; budget?: Budget | null; spent?: Spent[] };
export type Check = string | boolean | null | { ok?: boolean; status?: string; detail?: string; message?: string; reason?: string; release?: string };
export type Health = { status: "ok" | "degraded" | "down"; checks?: Record<string, Check> };

export type Score = { value: number; lo?: number | null; hi?: number | null };
export type Release = {
  number: number;
  created_at: string;
  verdict?: string | null;
  reason?: string | null;
  scores: Record<string, Score>;
  index: string;
  embedder: string;
  generator: string;
  git_sha?: string | null;
};
export type Releases = {
  champion: number | null;
  previous: number | null;
  rejected?: { number: number | string; reason: string } | null;
  releases: Release[];
};
export type OpsEvent = {
  at: string;
  action: string;
  from: number | string | null;
  to: number | string | null;
  who: string;
  reason?: string | null;
};
export type Night = {
  at: string;
  verdict?: string | null;
  seconds?: number | null;
  documents?: number | Record<string, number> | null;
  chunks?: number | Record<string, number> | null;
  release?: number | string | null;
  reasons?: string[];
  error?: string;
};
type Looking = { alarm: boolean | null; why?: string; reasons?: string[]; [figure: string]: unknown };
export type Votes = { release: string; answers: number; abstained: number[] | null; down: number[] | null; clicked: number[] | null };
export type Looked = Record<"embedder" | "recall" | "questions" | "documents", Looking> & { feedback: Looking & { rows?: Votes[] } };
export type Watched = Looked & { at: string; release: string };
export type OpenAlert = { alert: string; severity: string; summary: string; action: string; since: string };
export type Watching = {
  last: Watched | null;
  history: ({ at: string } & Record<string, unknown>)[];
  alerts: OpenAlert[];
};
export type Trial = {
  number: string;
  champion: string;
  mode: "shadow" | "split" | "interleave";
  share: number;
  by: "user" | "session";
  started_at: string;
  until: string;
  who: string;
  reason: string;
  answers: number;
};
export type Measure = Record<"champion" | "challenger" | "difference" | "lo" | "hi", number | null> & { measure: string; n: number };
export type TrialState = {
  trial: Trial | null;
  trouble: string | null;
  running?: boolean;
  ended_at?: string;
  why?: string;
  says?: string;
  answers?: number;
  people?: number;
  counts?: Record<string, number>;
  fell_back?: number;
  measures?: Measure[];
};
export type Quarantined = { uri: string; reason: string; detail?: string | null; at?: string };
export type Point = [at: string | number, value: number | null];
export type Metrics = { series: Record<string, Point[]> };
export type Key = {
  id: string;
  name: string;
  scopes: string[];
  roles?: Record<string, Role>;
  workspaces?: string[] | Record<string, Role>;
  created_at?: string;
  expires_at?: string | null;
  revoked_at?: string | null;
};
export type NewKey = Key & { key?: string; secret?: string; token?: string };
