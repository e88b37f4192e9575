import { Group, Modal } from "@mantine/core";
import { type ReactNode, useEffect } from "react";

type Props = { title: string; open: boolean; close: () => void; size?: string; children: ReactNode };

/** A dialog. Mantine's own header would be a second banner of the page to a screen reader. */
export function Dialog({ title, open, close, size = "md", children }: Props) {
  // The focus returns to what opened the dialog; where that is gone by then, to the page's title.
  useEffect(() => {
    if (!open) return;
    const settle = () => {
      if (document.activeElement === document.body)
        document.querySelector<HTMLElement>("h1")?.focus({ preventScroll: true });
    };
    return () => void setTimeout(settle, 500);
  }, [open]);
  return (
    <Modal.Root opened={open} onClose={close} size={size} centered>
      <Modal.Overlay backgroundOpacity={0.5} />
      <Modal.Content>
        <Modal.Body pt="md">
          <Group justify="space-between" align="flex-start" wrap="nowrap" mb="md">
            <Modal.Title className="dialog-title">{title}</Modal.Title>
            <Modal.CloseButton aria-label="Close" />
          </Group>
          {children}
        </Modal.Body>
      </Modal.Content>
    </Modal.Root>
  );
}
