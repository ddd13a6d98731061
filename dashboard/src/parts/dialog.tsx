// A modal question: focus stays inside, Escape closes it.

import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

export function Dialog(props: { title: string; onClose: () => void; children: ComponentChildren }) {
  const { title, onClose, children } = props;
  const element = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const before = document.activeElement as HTMLElement | null;
    element.current?.showModal();
    return () => before?.focus?.();
  }, []);
  return (
    <dialog ref={element} onClose={onClose} aria-label={title}>
      <h2>{title}</h2>
      {children}
    </dialog>
  );
}

export function Confirm(props: {
  title: string;
  action: string;
  danger?: boolean;
  ready?: boolean;
  onConfirm: () => Promise<unknown>;
  onClose: () => void;
  children?: ComponentChildren;
}) {
  const { title, action, danger = false, ready = true, onConfirm, onClose, children } = props;
  const [busy, setBusy] = useState(false);
  const confirm = async () => {
    setBusy(true);
    try {
      await onConfirm();
    } finally {
      onClose();
    }
  };
  return (
    <Dialog title={title} onClose={onClose}>
      {children}
      <div class="actions end">
        <button type="button" onClick={onClose}>
          Back
        </button>
        <button
          type="button"
          class={danger ? "danger" : "primary"}
          disabled={busy || !ready}
          onClick={() => void confirm()}
        >
          {busy ? "Working…" : action}
        </button>
      </div>
    </Dialog>
  );
}
