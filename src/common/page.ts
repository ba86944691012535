import { createHash } from 'node:crypto';

const STYLE = `
  :root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif; }
  body { max-width: 44rem; margin: 0 auto; padding: 1.5rem 1rem; overflow-wrap: anywhere; }
  h1 { font-size: 1.5rem; } h2 { font-size: 1.1rem; margin: 0; }
  article { border: 1px solid #8886; border-radius: .5rem; padding: 1rem; margin: 1rem 0; }
  pre { white-space: pre-wrap; font: inherit; margin: 0; }
  button, input { font: inherit; padding: .6rem 1rem; border-radius: .5rem; border: 1px solid #8888; }
  button { background: #1a56db; color: #fff; border: 0; cursor: pointer; min-height: 2.75rem; }
  button:focus-visible { outline: 3px solid #7aa2ff; } button:disabled { opacity: .6; }`;

/** A small whole HTML page in the service's plain style. `body` is HTML: escape what comes from users. */
export function page(title: string, body: string, script = ''): string {
  return `<!doctype html><html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>${escapeHtml(title)}</title>
<style>${STYLE}</style></head><body>${body}${script && `<script>${script}</script>`}</body></html>`;
}

/** The Content-Security-Policy of a {@link page}: its own style and this one script, nothing else. */
export function pagePolicy(script = ''): string {
  const hash = (text: string): string => `'sha256-${createHash('sha256').update(text).digest('base64')}'`;
  return [
    "default-src 'none'",
    `style-src ${hash(STYLE)}`,
    `script-src ${script ? hash(script) : "'none'"}`,
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join('; ');
}

export function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
