import { Body, Controller, Get, Put } from '@nestjs/common';
import { ApiOkResponse, ApiOperation, ApiTags } from '@nestjs/swagger';
import { UserAccess } from '../common/access';
import { CurrentPrincipal, type UserPrincipal } from '../common/principal';
import { ProfileDto, UserDto } from './users.dto';
import { UsersService } from './users.service';

@ApiTags('Account')
@UserAccess()
@Controller('auth/me')
export class UsersController {
  constructor(private readonly users: UsersService) {}

  @Get()
  @ApiOperation({ summary: 'Own account' })
  @ApiOkResponse({ type: UserDto, description: 'The account of the access token.' })
  async me(@CurrentPrincipal() { userId }: UserPrincipal): Promise<UserDto> {
    return UserDto.from(await this.users.get(userId));
  }

  @Put()
  @ApiOperation({
    summary: 'Change own profile',
    description: 'Only the named fields change; null or an empty text clears one.',
  })
  @ApiOkResponse({ type: UserDto, description: 'The account as it is now.' })
  async update(@CurrentPrincipal() owner: UserPrincipal, @Body() body: ProfileDto): Promise<UserDto> {
    return UserDto.from(await this.users.updateProfile(owner, toProfile(body)));
  }
}

function toProfile({
  first_name,
  last_name,
  company,
}: ProfileDto): Parameters<UsersService['updateProfile']>[1] {
  return {
    ...(first_name !== undefined && { firstName: first_name || null }),
    ...(last_name !== undefined && { lastName: last_name || null }),
    ...(company !== undefined && { company: company || null }),
  };
}
