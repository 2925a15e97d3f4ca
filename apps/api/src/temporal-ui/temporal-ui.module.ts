import { Module } from '@nestjs/common';
import { TemporalUiController } from './temporal-ui.controller.js';

@Module({ controllers: [TemporalUiController] })
export class TemporalUiModule {}
