import { layOut } from './mail-layout';

describe('the layout of mails', () => {
  const url = 'https://api.example.com/verify-email#token=abc&x="y"';
  const mail = layOut({
    to: 'ada@example.com',
    subject: 'Tea & <cake>',
    before: ['Dear <Ada>, open this:'],
    link: { label: 'Open & see', url },
    after: ['Good bye.'],
  });

  it('puts the link on a line of its own in the text part, as it is', () => {
    expect(mail.text).toBe(`Dear <Ada>, open this:\n\n${url}\n\nGood bye.\n`);
  });

  it('says the same in the HTML part, escaped, with the link as button and as text', () => {
    const escaped = 'https://api.example.com/verify-email#token=abc&#38;x=&#34;y&#34;';
    expect(mail.html).toContain('<title>Tea &#38; &#60;cake&#62;</title>');
    expect(mail.html).toContain('<p>Dear &#60;Ada&#62;, open this:</p>');
    expect(mail.html.split(`href="${escaped}"`)).toHaveLength(3);
    expect(mail.html).toContain(`>Open &#38; see</a>`);
    expect(mail.html).toContain(`>${escaped}</a>`);
    expect(mail.html).toContain('<p>Good bye.</p>');
  });

  it('loads nothing, knows dark mode, and keeps to line lengths that every server takes', () => {
    expect(mail.html).not.toMatch(/<img|<script|<link|url\(|@import/);
    expect(mail.html).toContain('<meta name="color-scheme" content="light dark">');
    expect(mail.html).toContain('prefers-color-scheme: dark');
    expect(Math.max(...mail.html.split('\n').map((line) => line.length))).toBeLessThan(998);
  });

  it('leaves the button out when there is nothing to open', () => {
    const plain = layOut({ to: 'ada@example.com', subject: 'News', before: ['One.', 'Two.'] });
    expect(plain.text).toBe('One.\n\nTwo.\n');
    expect(plain.html).not.toContain('<a ');
  });
});
