import { SetMetadata } from '@nestjs/common';
import type { CustomDecorator } from '@nestjs/common';
import type { Permission as Needed } from './roles.js';

/** Metadata key of a handler's declaration. */
export const DECLARATION = 'bulkhead:permission';

export type Declaration =
  { readonly needs: Needed } | { readonly signedInBecause: string } | { readonly publicBecause: string };

/** Each query, mutation, subscription and route carries this, SignedIn or Public, or the API does not boot. */
export const Permission = (needs: Needed): CustomDecorator =>
  SetMetadata(DECLARATION, { needs } satisfies Declaration);

/** A handler for anyone who proved who they are, whatever their role and also without a tenant, and why that is right. */
export const SignedIn = (signedInBecause: string): CustomDecorator =>
  SetMetadata(DECLARATION, { signedInBecause } satisfies Declaration);

/** A handler that anyone may call without a key, and why that is right. */
export const Public = (publicBecause: string): CustomDecorator =>
  SetMetadata(DECLARATION, { publicBecause } satisfies Declaration);
