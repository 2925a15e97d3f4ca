import { Field, Float, GraphQLISODateTime, ObjectType, registerEnumType } from '@nestjs/graphql';
import { QUOTA_LAYERS } from '@bulkhead/quota/admin';
import type { QuotaLayer } from '@bulkhead/quota/admin';

export const QuotaLayerEnum = Object.fromEntries(Object.values(QUOTA_LAYERS).map((layer) => [layer, layer]));
registerEnumType(QuotaLayerEnum, {
  name: 'QuotaLayer',
  description: 'cost_micros_per_day: millionths of the currency in which tools state their cost.',
});

@ObjectType('Quota', { description: 'What the tenant may use in a window, and what it has used.' })
export class QuotaModel {
  @Field(() => QuotaLayerEnum)
  layer!: QuotaLayer;
  @Field(() => Float, {
    nullable: true,
    description: 'What holds: the lower of `granted` and `own`. null: counted, and never refused.',
  })
  limit?: number | undefined;
  @Field(() => Float, {
    nullable: true,
    description: "By the platform's operators, or what every tenant has. null: no limit.",
  })
  granted?: number | undefined;
  @Field(() => Float, { nullable: true, description: "By the tenant's own admins; null: none." })
  own?: number | undefined;
  @Field(() => Float, { description: 'With what calls under way have reserved.' })
  used!: number;
  @Field(() => String, { description: 'The day, in UTC.' })
  window!: string;
  @Field(() => GraphQLISODateTime, { description: 'When the next window begins.' })
  resetsAt!: Date;
}
