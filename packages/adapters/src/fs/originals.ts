import nodeFs from 'node:fs';

/** What reads and writes whole files. */
type Whole<Module extends { readFile: unknown; writeFile: unknown }> = Readonly<
  Pick<Module, 'readFile' | 'writeFile'>
>;

const { promises } = nodeFs;

/** Functions of Node's own as they were before anything was put in their places. */
export const originals: Whole<typeof nodeFs> & { readonly promised: Whole<typeof nodeFs.promises> } = {
  readFile: nodeFs.readFile,
  writeFile: nodeFs.writeFile,
  promised: { readFile: promises.readFile, writeFile: promises.writeFile },
};
