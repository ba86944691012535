import { applyDecorators, SetMetadata } from '@nestjs/common';
import { ApiBearerAuth, ApiExtension, ApiSecurity } from '@nestjs/swagger';
import type { FastifyRequest } from 'fastify';
import { CommonErrors } from './common.errors';
import { KeyErrors } from './denials';
import { ApiProblems } from './problem-docs';

/** The permission that a request asks about itself; undefined: none. */
export type AskedPermission = (request: FastifyRequest) => string | undefined;

/** Who may call a route; read by AuthGuard, which refuses a route that does not say. */
export type Access =
  | { readonly kind: 'public' }
  | { readonly kind: 'user'; readonly role?: 'admin' }
  | { readonly kind: 'api_key'; readonly permission: string | AskedPermission | null };

export const ACCESS_METADATA = 'cortex:access';

/** Anyone, without a credential. */
export const Public = (): MethodDecorator & ClassDecorator =>
  SetMetadata<string, Access>(ACCESS_METADATA, { kind: 'public' });

/** A person with a bearer access token; an API key is refused. */
export const UserAccess = (): MethodDecorator & ClassDecorator =>
  applyDecorators(
    SetMetadata<string, Access>(ACCESS_METADATA, { kind: 'user' }),
    ApiBearerAuth('access_token'),
    ApiProblems(CommonErrors.authenticationRequired, CommonErrors.invalidCredentials, CommonErrors.forbidden),
  );

/** A person with the role `admin`, with a bearer access token. */
export const AdminAccess = (): MethodDecorator & ClassDecorator =>
  applyDecorators(
    SetMetadata<string, Access>(ACCESS_METADATA, { kind: 'user', role: 'admin' }),
    ApiBearerAuth('access_token'),
    ApiProblems(CommonErrors.authenticationRequired, CommonErrors.invalidCredentials, CommonErrors.forbidden),
  );

/** A backend with an API key that has the permission, which the document shows too, or that its request asks about, or (null) with any; an access token is refused. */
export const ApiKeyAccess = (permission: string | AskedPermission | null): MethodDecorator & ClassDecorator =>
  applyDecorators(
    SetMetadata<string, Access>(ACCESS_METADATA, { kind: 'api_key', permission }),
    ApiSecurity('api_key'),
    ApiBearerAuth('api_key_as_bearer'),
    ApiProblems(
      CommonErrors.authenticationRequired,
      CommonErrors.invalidCredentials,
      KeyErrors.disabled,
      KeyErrors.expired,
      KeyErrors.compromised,
      CommonErrors.forbidden,
    ),
    ...(permission === null ? [] : [ApiProblems(CommonErrors.insufficientPermissions)]),
    ...(typeof permission === 'string' ? [ApiExtension('x-permission', permission)] : []),
  );
