import { Controller, Get, Header, Query } from '@nestjs/common';
import { ApiExcludeController } from '@nestjs/swagger';
import { IsEmail, IsOptional } from 'class-validator';
import { Public } from '../../common/access';
import { escapeHtml, page, pagePolicy } from '../../common/page';
import { DevelopmentMailbox, type KeptMail } from './development-mailbox';

class MailboxQueryDto {
  @IsOptional()
  @IsEmail()
  to?: string;
}

/** Development only: this controller is registered when mail stays in memory. */
@ApiExcludeController()
@Public()
@Controller('dev')
export class DevelopmentMailboxController {
  constructor(private readonly mailbox: DevelopmentMailbox) {}

  @Get('mailbox')
  @Header('content-type', 'text/html; charset=utf-8')
  @Header('content-security-policy', pagePolicy())
  @Header('cache-control', 'no-store')
  html(): string {
    const mails = this.mailbox.mails();
    return page(
      'Mailbox',
      `<h1>Mailbox</h1>
      <p>Mail of this development service: kept in memory, the last 100, newest first.</p>
      ${mails.length > 0 ? mails.map(mailHtml).join('') : '<p>No mail yet.</p>'}`,
    );
  }

  /** The same for scripts: `?to=` keeps the mails to one address. */
  @Get('mailbox.json')
  @Header('cache-control', 'no-store')
  json(@Query() { to }: MailboxQueryDto): readonly KeptMail[] {
    return this.mailbox.mails().filter((mail) => to === undefined || mail.to === to.toLowerCase());
  }
}

function mailHtml({ to, subject, text, html, sentAt }: KeptMail): string {
  const linked = escapeHtml(text).replace(
    /https?:\/\/\S*[^\s.,:;)]/g,
    (url) => `<a href="${url}">${url}</a>`,
  );
  return `<article><h2>${escapeHtml(subject)}</h2>
    <p>To ${escapeHtml(to)}, ${sentAt.toISOString()}</p><pre>${linked}</pre>
    <details><summary>HTML part</summary><pre>${escapeHtml(html)}</pre></details></article>`;
}
