import { Global, Module } from '@nestjs/common';
import { Derivation } from './derivation';
import { Passwords } from './passwords';
import { Sealing } from './sealing';

@Global()
@Module({ providers: [Derivation, Passwords, Sealing], exports: [Derivation, Passwords, Sealing] })
export class CryptoModule {}
