import { ApiProperty, ApiPropertyOptional } from '@nestjs/swagger';

export class LivenessDto {
  @ApiProperty({ enum: ['alive'], description: 'The process answers.' })
  status!: 'alive';
}

export class ComponentHealthDto {
  @ApiProperty({ enum: ['up', 'down'], description: 'Whether the component answered.' })
  status!: 'up' | 'down';
}

export class PartHealthDto {
  @ApiProperty({
    enum: ['up', 'degraded'],
    description: 'Degraded: an operator should look; the log says at what.',
  })
  status!: 'up' | 'degraded';
}

export class HealthComponentsDto {
  @ApiProperty({ type: ComponentHealthDto, description: 'PostgreSQL; it alone decides readiness.' })
  database!: ComponentHealthDto;

  @ApiPropertyOptional({
    type: PartHealthDto,
    description: 'What is reported to Polar and heard from it; absent while billing is off.',
  })
  billing?: PartHealthDto;

  @ApiPropertyOptional({
    type: PartHealthDto,
    description:
      'Redis, when there is one. Degraded: each process keeps to its share of the rate limits until it is back.',
  })
  redis?: PartHealthDto;

  @ApiPropertyOptional({
    type: PartHealthDto,
    description:
      'The read replica, when there is one. Degraded: it does not answer or is behind, and statistics are read from the primary.',
  })
  replica?: PartHealthDto;
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
