// What a run has made and started is undone at its end, the last first, whether it ended well, failed or was interrupted.

const undoings = [];
let undone;

/** @param {() => Promise<unknown>} undo */
export function atEnd(undo) {
  undoings.push(undo);
}

async function undoAll() {
  for (let undo = undoings.pop(); undo !== undefined; undo = undoings.pop()) {
    await undo().catch((error) => {
      console.error(error);
      process.exitCode = 1;
    });
  }
}

export function cleanUp() {
  undone ??= undoAll();
  return undone;
}
