import { ApiProperty } from '@nestjs/swagger';

/** The answer of an action that has no resource to show. */
export class MessageDto {
  @ApiProperty({ example: 'Done.', description: 'What happened, for people.' })
  message!: string;
}
