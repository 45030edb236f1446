import { TaskGroup } from '@ouro/runtime';
import { awaitFast, Deferred, type Future, flow, type Steps } from '@ouro/runtime/driver';

/** Waits for work. Cancelling ends the waiting; what comes next finds out why. */
class Waiting extends Deferred<void> {
  override cancel(): void {
    this.resolve();
  }
}
awaitFast(Waiting);

/** Jobs that wait before listing a directory makes no more of them. */
const ENOUGH = 1024;

/**
 * Jobs that make further jobs, done by a number of workers, those that came last first: so a tree is copied in depth, and what
 * waits does not grow with its breadth.
 */
export class Queue<Leaf, Branch> {
  readonly #leaf: (steps: Steps, job: Leaf) => Promise<void>;
  readonly #branch: (steps: Steps, job: Branch) => Promise<void>;
  readonly #leaves: Leaf[] = [];
  readonly #branches: Branch[] = [];
  readonly #waiting: Set<Waiting> = new Set();
  /** Jobs under way. */
  #running = 0;

  /** @param branch makes many jobs, and few are under way at a time: they are begun when there are no leaves */
  constructor(
    leaf: (steps: Steps, job: Leaf) => Promise<void>,
    branch: (steps: Steps, job: Branch) => Promise<void>,
  ) {
    this.#leaf = leaf;
    this.#branch = branch;
  }

  addLeaf(job: Leaf): void {
    this.#leaves.push(job);
    this.#wake(1);
  }

  addBranch(job: Branch): void {
    this.#branches.push(job);
    this.#wake(1);
  }

  /** Does leaves here and now until few are left waiting. */
  async relieve(steps: Steps): Promise<void> {
    while (this.#leaves.length > ENOUGH) {
      steps.check();
      await this.#leaf(steps, this.#leaves.pop() as Leaf);
    }
  }

  #wake(count: number): void {
    for (const waiting of this.#waiting) {
      if (count-- === 0) return;
      this.#waiting.delete(waiting);
      waiting.resolve();
    }
  }

  /** Does all jobs. The first that fails ends it, when those under way have ended. */
  run(workers: number): Future<void> {
    return TaskGroup.run<void>((group) => {
      for (let left = workers; left > 0; left--) {
        group.spawn((task) => flow((steps) => this.#work(steps), { scope: task.scope }));
      }
    });
  }

  async #work(steps: Steps): Promise<void> {
    for (;;) {
      steps.check();
      const leaf = this.#leaves.pop();
      const branch = leaf === undefined ? this.#branches.pop() : undefined;
      if (leaf === undefined && branch === undefined) {
        if (this.#running === 0) {
          this.#wake(Number.POSITIVE_INFINITY);
          return;
        }
        const waiting = new Waiting();
        this.#waiting.add(waiting);
        await steps.step(waiting);
        this.#waiting.delete(waiting);
        continue;
      }
      this.#running++;
      try {
        if (leaf !== undefined) await this.#leaf(steps, leaf);
        else if (branch !== undefined) await this.#branch(steps, branch);
      } finally {
        this.#running--;
      }
    }
  }
}
