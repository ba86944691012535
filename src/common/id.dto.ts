import { ApiProperty } from '@nestjs/swagger';
import { Transform } from 'class-transformer';
import { IsUUID } from 'class-validator';

/** The `{id}` of a path, in the one spelling that rows and caches know: lower case. */
export class IdDto {
  @ApiProperty({ format: 'uuid', description: 'Id, as lists and answers show it.' })
  @Transform(({ value }: { value: unknown }) => (typeof value === 'string' ? value.toLowerCase() : value))
  @IsUUID()
  id!: string;
}
