import type { NestFastifyApplication } from '@nestjs/platform-fastify';
import { SwaggerModule } from '@nestjs/swagger';
import { SERVICE_TITLE } from './common/version';
import { buildOpenApi } from './openapi';

const CHARSET = '<meta charset="UTF-8">';
/** Without it a telephone shows the page as wide as a desk, in letters that nobody can read. */
const VIEWPORT = '<meta name="viewport" content="width=device-width, initial-scale=1">';

/** The OpenAPI document at `/openapi.json` and `/openapi.yaml`, and the page that shows it at `/docs`. */
export function setUpDocs(app: NestFastifyApplication): void {
  app
    .getHttpAdapter()
    .getInstance()
    .addHook('onRoute', (route) => {
      if (route.url !== '/docs' && route.url !== '/docs/') return;
      route.onSend = (_request, _reply, page, done) => {
        done(null, typeof page === 'string' ? page.replace(CHARSET, `${CHARSET}${VIEWPORT}`) : page);
      };
    });
  SwaggerModule.setup('docs', app, () => buildOpenApi(app), {
    jsonDocumentUrl: 'openapi.json',
    yamlDocumentUrl: 'openapi.yaml',
    customSiteTitle: SERVICE_TITLE,
    customCss: NARROW,
    swaggerOptions: { persistAuthorization: true, displayRequestDuration: true },
  });
}

/** On a narrow screen, what is wider than it scrolls by itself. */
const NARROW = `@media (max-width: 640px) {
  .swagger-ui .wrapper { padding: 0 10px; }
  .swagger-ui .opblock .opblock-summary-description { display: none; }
  .swagger-ui table { display: block; overflow-x: auto; }
}`;
