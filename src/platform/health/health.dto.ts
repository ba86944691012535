import { ApiProperty } from '@nestjs/swagger';

export class LivenessDto {
  @ApiProperty({ enum: ['alive'], description: 'The process answers.' })
  status!: 'alive';
}

export class ComponentHealthDto {
  @ApiProperty({ enum: ['up', 'down'], description: 'Whether the component answered.' })
  status!: 'up' | 'down';
}

export class HealthComponentsDto {
  @ApiProperty({ type: ComponentHealthDto, description: 'PostgreSQL; it alone decides readiness.' })
  database!: ComponentHealthDto;
}

export class HealthDto {
  @ApiProperty({
    enum: ['healthy', 'unhealthy', 'draining'],
    example: 'healthy',
    description: 'The service as a whole.',
  })
  status!: 'healthy' | 'unhealthy' | 'draining';

  @ApiProperty({ example: '1.0.0', description: 'Version of the service.' })
  version!: string;

  @ApiProperty({ type: HealthComponentsDto, description: 'What the service stands on.' })
  components!: HealthComponentsDto;
}
