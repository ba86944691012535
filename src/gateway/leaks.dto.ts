import { ApiProperty } from '@nestjs/swagger';
import { IsString, Length } from 'class-validator';
import type { LeakVerdict } from './github-leaks.service';

const labels = ['true_positive', 'false_positive'] as const;

/** GitHub's two words for: this is or was a key, this is none. */
function labelOf(isKey: boolean): (typeof labels)[number] {
  return isKey ? 'true_positive' : 'false_positive';
}

export class LeakVerdictDto {
  @ApiProperty({
    example: '2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae',
    description: 'SHA-256 of the text, in hex.',
  })
  token_hash!: string;

  @ApiProperty({ example: 'cortex_api_key', description: 'The `type` of the report.' })
  token_type!: string;

  @ApiProperty({ enum: labels, example: 'true_positive', description: 'Whether it is or was a key.' })
  label!: (typeof labels)[number];

  static from(this: void, { tokenHash, tokenType, isKey }: LeakVerdict): LeakVerdictDto {
    return { token_hash: tokenHash, token_type: tokenType, label: labelOf(isKey) };
  }
}

export class ReportLeakDto {
  @ApiProperty({
    minLength: 1,
    maxLength: 512,
    example: 'ctx_live_a1B2c3D4e5F6g7H8i9J0k1L2m3N4o50Abc12',
    description: 'The key that was found where others can read it.',
  })
  @IsString()
  @Length(1, 512)
  key!: string;
}

export class ReportedLeakDto {
  @ApiProperty({ enum: labels, example: 'true_positive', description: 'Whether it is or was a key.' })
  label!: (typeof labels)[number];

  static from(this: void, isKey: boolean): ReportedLeakDto {
    return { label: labelOf(isKey) };
  }
}
