import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';
import { Transform } from 'class-transformer';
import { IsInt, IsOptional, Max, Min, registerDecorator } from 'class-validator';
import { parse, stringify } from 'uuid';

const LIMIT_MAX = 100;
const LIMIT_DEFAULT = 20;
/** 16 bytes in base64url. */
const CURSOR_LENGTH = 22;

/** Which page of a list that is read newest first, by UUIDv7. */
export interface PageRequest {
  readonly limit: number;
  /** The id of the last row of the page before; null: the first page. */
  readonly before: string | null;
}

/** Rows of one page, and the cursor of the next; null: there is none. */
export interface Page<Row> {
  readonly rows: readonly Row[];
  readonly cursor: string | null;
}

/** The query of a paged list; a route with filters extends it. */
export class PageQueryDto {
  @ApiPropertyOptional({
    type: 'integer',
    minimum: 1,
    maximum: LIMIT_MAX,
    default: LIMIT_DEFAULT,
    example: LIMIT_DEFAULT,
    description: 'Most entries of the page.',
  })
  @IsOptional()
  // Only plain digits count as a number: `1e2`, ` 5` and the empty text are refused.
  @Transform(({ value }: { value: unknown }) =>
    typeof value === 'string' && /^\d{1,9}$/.test(value) ? Number(value) : value,
  )
  @IsInt()
  @Min(1)
  @Max(LIMIT_MAX)
  limit?: number;

  @ApiPropertyOptional({
    type: String,
    minLength: CURSOR_LENGTH,
    maxLength: CURSOR_LENGTH,
    example: 'AZqfDnw6e36dVQ6PWhwrPQ',
    description: 'The cursor that came with the page before; absent: the first page.',
  })
  @IsOptional()
  @IsCursor()
  cursor?: string;
}

/** How a paged list goes on. */
export class PaginationDto {
  @ApiProperty({
    type: String,
    nullable: true,
    example: 'AZqfDnw6e36dVQ6PWhwrPQ',
    description: 'Send it as `cursor` for the next page; null: this is the last.',
  })
  cursor!: string | null;

  @ApiProperty({ example: true, description: 'Whether there is a next page.' })
  has_more!: boolean;
}

/** What a query asks for, with its defaults. */
export function pageRequest({ limit = LIMIT_DEFAULT, cursor }: PageQueryDto): PageRequest {
  return { limit, before: cursor ? decodeCursor(cursor) : null };
}

/** The page of a read that asked for one row more than the limit. */
export function pageOf<Row extends { readonly id: string }>(
  rows: readonly Row[],
  { limit }: PageRequest,
): Page<Row> {
  const shown = rows.slice(0, limit);
  const last = shown.at(-1);
  return { rows: shown, cursor: last && rows.length > limit ? encodeCursor(last.id) : null };
}

/** A page as the wire shows it. */
export function pageDto<Row, Dto>(
  { rows, cursor }: Page<Row>,
  toDto: (row: Row) => Dto,
): { data: Dto[]; pagination: PaginationDto } {
  return { data: rows.map(toDto), pagination: { cursor, has_more: cursor !== null } };
}

function encodeCursor(id: string): string {
  return Buffer.from(parse(id)).toString('base64url');
}

/** The id in a cursor, or null when it is not a cursor as {@link encodeCursor} writes them. */
function decodeCursor(cursor: string): string | null {
  try {
    const id = stringify(Buffer.from(cursor, 'base64url'));
    return encodeCursor(id) === cursor ? id : null;
  } catch {
    return null;
  }
}

function IsCursor(): PropertyDecorator {
  return (target, property) => {
    registerDecorator({
      name: 'isCursor',
      target: target.constructor,
      propertyName: property as string,
      validator: {
        validate: (value: unknown) => typeof value === 'string' && decodeCursor(value) !== null,
        defaultMessage: () => 'must be a cursor that came with the page before',
      },
    });
  };
}
