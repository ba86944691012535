import { ApiProperty } from '@nestjs/swagger';
import { ArrayUnique, IsArray, IsIn } from 'class-validator';
import { servicePermissions } from '../api-keys/permissions';

export class ServicePermissionsDto {
  @ApiProperty({
    type: [String],
    enum: servicePermissions,
    uniqueItems: true,
    example: ['keys:verify'],
    description: 'All that the key shall have; empty takes them away.',
  })
  @IsArray()
  @ArrayUnique()
  @IsIn(servicePermissions, { each: true })
  service_permissions!: string[];
}
