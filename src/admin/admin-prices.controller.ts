import { Body, Controller, Get, HttpCode, Post, Query } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { AdminAccess } from '../common/access';
import { budgetColumn } from '../common/budget';
import { usdNumber } from '../common/money';
import { Origin, type RequestOrigin } from '../common/origin';
import { pageDto, PageQueryDto, pageRequest } from '../common/pagination';
import { CurrentPrincipal, type UserPrincipal } from '../common/principal';
import { ApiProblems } from '../common/problem-docs';
import { RecentSecondFactor } from '../common/recent-second-factor';
import { PricesService, type Simulation } from '../usage/prices.service';
import type { NewPrice } from '../usage/public-prices';
import { UsageErrors } from '../usage/usage.errors';
import { NewPriceDto, PriceDto, PricesDto, SimulatePriceDto, SimulationDto } from './admin-prices.dto';
import { AdminErrors } from './admin.errors';

const SIMULATED_MS_MAX = 31 * 24 * 3_600_000;

@ApiTags('Admin')
@AdminAccess()
@Controller('admin/prices')
export class AdminPricesController {
  constructor(private readonly prices: PricesService) {}

  @Get()
  @ApiOperation({
    summary: 'List the prices',
    description:
      'Every price that was set, and the public ones that came with the service. For a call the most exact one in force counts: a model before a provider before neither, of several the newest. What an admin has set comes before all public prices. Without any, a token costs 0.0001 US dollars.',
  })
  @ApiOkResponse({ type: PricesDto, description: 'A page of prices.' })
  async list(@Query() query: PageQueryDto): Promise<PricesDto> {
    return pageDto(await this.prices.list(pageRequest(query)), PriceDto.from);
  }

  @Post()
  @HttpCode(200)
  @RecentSecondFactor()
  @ApiOperation({
    summary: 'Set a price',
    description: 'Adds a version; what earlier calls cost stays as it is.',
  })
  @ApiOkResponse({ type: PriceDto, description: 'The new version.' })
  @ApiProblems(UsageErrors.priceInThePast)
  async add(
    @CurrentPrincipal() { userId }: UserPrincipal,
    @Body() body: NewPriceDto,
    @Origin() origin: RequestOrigin,
  ): Promise<PriceDto> {
    const from = body.effective_from === undefined ? undefined : new Date(body.effective_from);
    return PriceDto.from(await this.prices.add(toPrice(body), from, { id: userId, origin }));
  }

  @Post('simulate')
  @HttpCode(200)
  @ApiOperation({
    summary: 'Try a price on past calls',
    description:
      'What the calls that it would have been for have cost, and would have cost. Nothing changes.',
  })
  @ApiOkResponse({ type: SimulationDto, description: 'Both sums.' })
  @ApiProblems(AdminErrors.spanTooLong)
  async simulate(@Body() body: SimulatePriceDto): Promise<SimulationDto> {
    const [from, to] = [new Date(body.from), new Date(body.to)];
    const spanMs = to.getTime() - from.getTime();
    if (spanMs <= 0 || spanMs > SIMULATED_MS_MAX) throw AdminErrors.spanTooLong();
    return toSimulationDto(await this.prices.simulate(toPrice(body), from, to));
  }
}

function toPrice(body: Omit<NewPriceDto, 'effective_from'>): NewPrice {
  const { input_usd_per_million, output_usd_per_million, cached_usd_per_million, request_usd } = body;
  return {
    operation: body.operation,
    provider: body.provider ?? null,
    model: body.model ?? null,
    inputUsdPerMillion: budgetColumn(input_usd_per_million),
    outputUsdPerMillion: budgetColumn(output_usd_per_million),
    cachedUsdPerMillion: budgetColumn(cached_usd_per_million ?? input_usd_per_million),
    requestUsd: budgetColumn(request_usd ?? 0),
  };
}

function toSimulationDto({ requests, cost, simulatedCost }: Simulation): SimulationDto {
  return { requests, cost_usd: usdNumber(cost), simulated_cost_usd: usdNumber(simulatedCost) };
}
