import { escapeHtml } from '../../common/page';
import type { Mail } from './mail';

/** What a mail says, in plain words; {@link layOut} makes both of its parts. */
export interface Letter {
  readonly to: string;
  readonly subject: string;
  /** A paragraph each, before the link. */
  readonly before: readonly string[];
  readonly link?: { readonly label: string; readonly url: string };
  readonly after?: readonly string[];
}

/** No images and no fonts to load, and the reader's own colours, light or dark. */
const STYLE = `
  :root { color-scheme: light dark; supported-color-schemes: light dark; }
  body { margin: 0; padding: 24px 16px; background: #ffffff; color: #1f2328; }
  .letter { max-width: 576px; margin: 0 auto; overflow-wrap: anywhere; }
  .letter, h1 { font-family: system-ui, -apple-system, 'Segoe UI', Roboto, Arial, sans-serif; line-height: 1.5; }
  .letter { font-size: 16px; } h1 { font-size: 20px; margin: 0 0 16px; } p { margin: 0 0 16px; }
  .button { display: inline-block; padding: 12px 20px; border-radius: 8px; font-weight: 600; text-decoration: none;
    background: #1a56db; color: #ffffff; }
  .small { font-size: 13px; } .small a { color: #1a56db; }
  @media (prefers-color-scheme: dark) {
    body { background: #16181d; color: #e6e8eb; } .small a { color: #8ab4ff; }
  }`;

/** Makes a mail with a text and an HTML part that say the same. */
export function layOut({ to, subject, before, link, after = [] }: Letter): Mail {
  return {
    to,
    subject,
    text: `${[...before, ...(link ? [link.url] : []), ...after].join('\n\n')}\n`,
    html: `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta name="supported-color-schemes" content="light dark">
<title>${escapeHtml(subject)}</title>
<style>${STYLE}
</style>
</head>
<body>
<div class="letter">
<h1>${escapeHtml(subject)}</h1>
${[...before.map(paragraph), ...(link ? [button(link)] : []), ...after.map(paragraph)].join('\n')}
</div>
</body>
</html>
`,
  };
}

/** An address alone becomes a link. */
function paragraph(text: string): string {
  const html = escapeHtml(text);
  return /^https?:\/\/\S+$/.test(text)
    ? `<p class="small"><a href="${html}">${html}</a></p>`
    : `<p>${html}</p>`;
}

/** The button's colours stand in the element too, for programs that drop style sheets. */
function button({ label, url }: { label: string; url: string }): string {
  const href = escapeHtml(url);
  return `<p><a class="button" href="${href}" style="background:#1a56db;color:#ffffff">${escapeHtml(label)}</a></p>
<p class="small">Or open this address:<br><a href="${href}">${href}</a></p>`;
}
