import { Global, Module } from '@nestjs/common';
import { Derivation } from './derivation';
import { Keyring } from './keyring';
import { Passwords } from './passwords';

@Global()
@Module({ providers: [Derivation, Passwords, Keyring], exports: [Derivation, Passwords, Keyring] })
export class CryptoModule {}
