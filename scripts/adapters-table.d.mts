/** What is known of a module. */
export interface ModuleList {
  readonly module: string;
  readonly exports: Readonly<Record<string, readonly number[]>>;
  readonly served: Readonly<Record<string, string>>;
}
export function modules(): ModuleList[];
export function exportsOf(module: ModuleList): Promise<string[]>;
export function documentWithTable(text: string): string;
