import { ApiProperty } from '@nestjs/swagger';

export class LivenessDto {
  @ApiProperty({ enum: ['alive'], description: 'The process answers.' })
  status!: 'alive';
}

export class ComponentHealthDto {
  @ApiProperty({ enum: ['up', 'down'], description: 'Whether the component answered.' })
  status!: 'up' | 'down';

  @ApiProperty({
    type: 'integer',
    required: false,
    example: 0,
    description: 'How often this process has had to do without it since its start.',
  })
  failures?: number;
}

export class HealthComponentsDto {
  @ApiProperty({ type: ComponentHealthDto, description: 'PostgreSQL; it alone decides readiness.' })
  database!: ComponentHealthDto;

  @ApiProperty({
    type: ComponentHealthDto,
    required: false,
    description: 'Redis, when there is one: without it, each process keeps to its share of the rate limits.',
  })
  redis?: ComponentHealthDto;
}

export class HealthDto {
  @ApiProperty({
    enum: ['healthy', 'degraded', 'unhealthy', 'draining'],
    example: 'healthy',
    description: 'The service as a whole.',
  })
  status!: 'healthy' | 'degraded' | 'unhealthy' | 'draining';

  @ApiProperty({ example: '1.0.0', description: 'Version of the service.' })
  version!: string;

  @ApiProperty({ type: HealthComponentsDto, description: 'What the service stands on.' })
  components!: HealthComponentsDto;
}
