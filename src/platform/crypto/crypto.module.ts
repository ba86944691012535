import { Global, Module } from '@nestjs/common';
import { Derivation } from './derivation';
import { Passwords } from './passwords';

@Global()
@Module({ providers: [Derivation, Passwords], exports: [Derivation, Passwords] })
export class CryptoModule {}
